//! A document as a page that stands alone and prints well.

use std::fmt::Write as _;

use weir_api::{Invoice, InvoiceDocument};

const STYLE: &str = "body{font:14px/1.45 system-ui,sans-serif;color:#111;max-width:60rem;margin:2rem auto;padding:0 1rem}\
address{font-style:normal;white-space:pre-line}header{display:flex;justify-content:space-between;gap:2rem}\
h1{font-size:1.5rem;margin:2rem 0 .5rem}table{border-collapse:collapse;width:100%;margin:1.5rem 0}\
th,td{padding:.35rem .5rem;text-align:left;border-bottom:1px solid #ddd}.n{text-align:right;font-variant-numeric:tabular-nums}\
tfoot td{border:0}.t{font-weight:600}@media print{body{margin:0}}";

/// What the document is called.
pub(super) fn title(invoice: &Invoice) -> String {
    let kind = if invoice.kind == "invoice" {
        "Invoice"
    } else {
        "Credit note"
    };
    match &invoice.number {
        Some(number) => format!("{kind} {number}"),
        None => format!("{kind} (draft)"),
    }
}

/// The line below it.
pub(super) fn about(invoice: &Invoice) -> String {
    let document = &invoice.document;
    let day = |instant: &str| {
        instant
            .replace(":00:00.000Z", "h")
            .replace("T00h", "")
            .replace('T', " ")
    };
    let mut text = format!(
        "For use from {} until {} (UTC)",
        day(&document.from),
        day(&document.until)
    );
    if let Some(finalized) = &invoice.finalized {
        let _ = write!(text, ", dated {}", finalized.get(..10).unwrap_or(finalized));
    }
    if let Some(number) = &document.credits_number {
        let _ = write!(text, ", takes back lines of {number}");
    }
    if let Some(reason) = &document.reason {
        let _ = write!(text, ": {reason}");
    }
    text
}

/// The sums below the lines.
pub(super) fn sums(document: &InvoiceDocument) -> [(String, String); 3] {
    let currency = &document.currency;
    [
        ("Net".to_owned(), format!("{} {currency}", document.net)),
        (
            format!("Tax, {} %", document.tax_percent),
            format!("{} {currency}", document.tax),
        ),
        ("Total".to_owned(), format!("{} {currency}", document.total)),
    ]
}

/// The page.
pub fn html(invoice: &Invoice) -> String {
    let document = &invoice.document;
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style>\
         <header><address>{}</address><address>{}</address></header><h1>{title}</h1><p>{}</p>\
         <table><thead><tr><th>Line<th>Project<th>Environment<th>Use<th class=n>Quantity<th>Price<th class=n>Exact<th class=n>Amount<tbody>",
        escape(&document.seller),
        escape(&document.customer),
        escape(&about(invoice)),
        title = escape(&title(invoice)),
    );
    for line in &document.lines {
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{}<td class=n>{}<td>{} (prices {})<td class=n>{}<td class=n>{}",
            line.number,
            escape(&line.project),
            escape(&line.environment),
            escape(&line.sku),
            escape(&line.quantity),
            escape(&line.price),
            line.price_version,
            escape(&line.exact),
            escape(&line.amount)
        );
    }
    page += "<tfoot>";
    for (name, amount) in sums(document) {
        let _ = write!(
            page,
            "<tr><td colspan=7 class=\"n t\">{}<td class=\"n t\">{}",
            escape(&name),
            escape(&amount)
        );
    }
    page + "</table></html>\n"
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            letter => safe.push(letter),
        }
    }
    safe
}

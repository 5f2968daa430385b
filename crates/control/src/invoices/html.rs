//! A document as a page that stands alone and prints well.

use std::fmt::Write as _;

use weir_api::{Invoice, InvoiceDocument};
use weir_ledger::period::time_zone;

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

/// From when until when.
pub fn stretch(document: &InvoiceDocument) -> String {
    let [from, until] = [&document.from, &document.until].map(|at| shown(at, &document.time_zone));
    format!("from {from} until {until} ({})", document.time_zone)
}

/// An instant in a time zone: the date, and the time unless it is midnight.
fn shown(instant: &str, zone: &str) -> String {
    let parsed = instant.parse::<jiff::Timestamp>().ok();
    let Some((at, zone)) = parsed.zip(time_zone(zone)) else {
        return instant.to_owned();
    };
    let text = at.to_zoned(zone).strftime("%Y-%m-%d %H:%M").to_string();
    text.strip_suffix(" 00:00").unwrap_or(&text).to_owned()
}

/// The line below it.
pub(super) fn about(invoice: &Invoice) -> String {
    let document = &invoice.document;
    let mut text = format!("For use {}", stretch(document));
    if let Some(finalized) = &invoice.finalized {
        let day = shown(finalized, &document.time_zone);
        let _ = write!(text, ", dated {}", day.get(..10).unwrap_or(&day));
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

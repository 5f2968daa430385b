use std::path::PathBuf;

use weir_api::{CreateInvoice, CreditInvoice, Invoice, InvoiceSettings, SetCustomer};

use crate::amounts::{account_name, local};
use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::output::{Cell, Ui};
use crate::session::Session;

/// Invoices: what was used in a stretch of time, on paper. A draft becomes final with a number and
/// then never changes; only a credit note takes it back.
///
/// As soon as a seller is set, accounts with billing on get each month's invoice by themselves.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir invoice settings --seller 'Cloud Ltd, 1 High Street' --tax 19 --series '{year}-{number:05}'\n  weir invoice customer customer-7 'Example Ltd, 2 High Street'\n  weir invoice create customer-7 --from 2026-10-01 --until 2026-11-01\n  weir invoice finalize inv_01jd…\n  weir invoice pdf inv_01jd… october.pdf\n  weir invoice credit inv_01jd… --reason 'an outage' --lines 2,3"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List invoices and credit notes, newest first.
    List {
        /// The account.
        #[arg(default_value = "default")]
        account: String,
    },
    /// Show one with its lines.
    Show {
        /// Its identity.
        invoice: String,
    },
    /// Make a draft of what was used in a stretch that is over.
    Create {
        /// The account.
        #[arg(default_value = "default")]
        account: String,
        /// A date (its beginning in the time zone that `weir account time-zone` shows), or an instant
        /// at a full hour.
        #[arg(long, value_name = "DATE")]
        from: String,
        /// The same; not included.
        #[arg(long, value_name = "DATE")]
        until: String,
    },
    /// Give a draft its number. It never changes afterwards.
    Finalize {
        /// Its identity.
        invoice: String,
    },
    /// Remove a draft.
    Discard {
        /// Its identity.
        invoice: String,
    },
    /// Make a draft of a credit note, which takes lines of a final invoice back.
    Credit {
        /// Its identity.
        invoice: String,
        /// Why; it is on the paper.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Numbers of lines; otherwise all that are not taken back yet.
        #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
        lines: Vec<u32>,
    },
    /// Write one as PDF.
    Pdf {
        /// Its identity.
        invoice: String,
        /// The file.
        file: PathBuf,
    },
    /// Write one as a page that stands alone.
    Html {
        /// Its identity.
        invoice: String,
        /// The file.
        file: PathBuf,
    },
    /// Show or set what is the same on all invoices.
    Settings(Change),
    /// Set whom invoices of an account are for.
    Customer {
        /// The account.
        account: String,
        /// Name and address.
        address: String,
    },
}

/// What is to change; nothing shows what is.
#[derive(Debug, clap::Args)]
struct Change {
    /// Name and address of the seller.
    #[arg(long, value_name = "TEXT")]
    seller: Option<String>,
    /// The tax that is in the prices, in percent.
    #[arg(long, value_name = "PERCENT")]
    tax: Option<String>,
    /// Numbers: {year}, and {number} or, with zeros, {number:05}.
    #[arg(long, value_name = "FORM")]
    series: Option<String>,
    /// Whether each month's invoice is made by itself, as soon as there is a seller.
    #[arg(long, value_parser = ["on", "off"])]
    automatic: Option<String>,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let (client, ui) = (session.client()?, &session.ui);
    match args.verb {
        Verb::List { account } => {
            let account = account_name(&account)?;
            let invoices: Vec<Invoice> = client.get(&format!("/v1/invoices?account={account}")).await?;
            ui.result(&invoices, || {
                let rows: Vec<Vec<Cell>> = invoices.iter().map(row).collect();
                let headers = ["INVOICE", "KIND", "NUMBER", "STATE", "FROM", "UNTIL", "TOTAL"];
                ui.table(&headers, &rows, "there are no invoices")
            })
        }
        Verb::Show { invoice } => show(ui, &client.get(&path(&invoice, "")?).await?),
        Verb::Create { account, from, until } => {
            let account = account_name(&account)?;
            let request = CreateInvoice { account, from, until };
            show(ui, &client.post("/v1/invoices", &request).await?)
        }
        Verb::Finalize { invoice } => show(ui, &client.post_empty(&path(&invoice, "/finalize")?).await?),
        Verb::Discard { invoice } => {
            client.delete_quietly(&path(&invoice, "")?).await?;
            ui.result(&serde_json::json!({ "discarded": invoice }), || {
                ui.note(&format!("{invoice} is gone"));
                Ok(())
            })
        }
        Verb::Credit { invoice, reason, lines } => {
            let request = CreditInvoice { lines, reason };
            show(ui, &client.post(&path(&invoice, "/credit")?, &request).await?)
        }
        Verb::Pdf { invoice, file } => save(&client, ui, &path(&invoice, "/pdf")?, &file).await,
        Verb::Html { invoice, file } => save(&client, ui, &path(&invoice, "/html")?, &file).await,
        Verb::Settings(change) => settings(&client, ui, change).await,
        Verb::Customer { account, address } => {
            let account = account_name(&account)?;
            let request = SetCustomer { address };
            client
                .put_quietly(&format!("/v1/accounts/{account}/address"), &request)
                .await?;
            ui.result(&request, || {
                ui.note(&format!("invoices of {account} that are made from now on are for it"));
                Ok(())
            })
        }
    }
}

async fn settings(client: &Client, ui: &Ui, change: Change) -> Result<()> {
    const PATH: &str = "/v1/invoice-settings";
    let mut settings: InvoiceSettings = client.get(PATH).await?;
    let before = settings.clone();
    settings.seller = change.seller.unwrap_or(settings.seller);
    settings.tax_percent = change.tax.unwrap_or(settings.tax_percent);
    settings.series = change.series.unwrap_or(settings.series);
    settings.automatic = change.automatic.map_or(settings.automatic, |word| word == "on");
    if settings != before {
        settings = client.put(PATH, &settings).await?;
    }
    ui.result(&settings, || {
        let automatic = match (settings.automatic, settings.seller.is_empty()) {
            (false, _) => "off",
            (true, false) => "on, each month for accounts with billing on",
            (true, true) => "on, as soon as a seller is set",
        };
        ui.data(&format!("series     {}", settings.series))?;
        ui.data(&format!("tax        {} %, in the prices", settings.tax_percent))?;
        ui.data(&format!("automatic  {automatic}"))?;
        ui.data(&format!(
            "seller     {}",
            settings.seller.replace('\n', "\n           ")
        ))
    })
}

fn path(invoice: &str, rest: &str) -> Result<String> {
    if invoice.starts_with("inv_") && invoice.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(format!("/v1/invoices/{invoice}{rest}"));
    }
    Err(Failure::usage(format!("`{invoice}` is no identity of an invoice")).hint("list them with: weir invoice list"))
}

async fn save(client: &Client, ui: &Ui, path: &str, file: &std::path::Path) -> Result<()> {
    let bytes = client.get_bytes(path).await?;
    std::fs::write(file, &bytes).map_err(|error| Failure::file("write", file, &error))?;
    ui.result(&serde_json::json!({ "file": file, "bytes": bytes.len() }), || {
        ui.note(&format!("{} is written", file.display()));
        Ok(())
    })
}

fn row(invoice: &Invoice) -> Vec<Cell> {
    let document = &invoice.document;
    let day = |instant: &str| {
        let local = local(instant, &document.time_zone);
        local.strip_suffix(" 00:00").unwrap_or(&local).to_owned()
    };
    vec![
        invoice.id.as_str().into(),
        invoice.kind.as_str().into(),
        invoice.number.clone().into(),
        Cell::state(&invoice.state),
        day(&document.from).into(),
        day(&document.until).into(),
        format!("{} {}", document.total, document.currency).into(),
    ]
}

fn show(ui: &Ui, invoice: &Invoice) -> Result<()> {
    ui.result(invoice, || {
        let document = &invoice.document;
        let rows: Vec<Vec<Cell>> = document
            .lines
            .iter()
            .map(|line| {
                vec![
                    line.number.to_string().into(),
                    format!("{}/{}", line.project, line.environment).into(),
                    line.sku.as_str().into(),
                    line.quantity.as_str().into(),
                    line.price.as_str().into(),
                    line.exact.as_str().into(),
                    line.amount.as_str().into(),
                ]
            })
            .collect();
        ui.data(&format!(
            "{}  {} {} ({})",
            invoice.id,
            invoice.kind,
            invoice.number.as_deref().unwrap_or("without number"),
            invoice.state
        ))?;
        let headers = ["LINE", "ENVIRONMENT", "USE", "QUANTITY", "PRICE", "EXACT", "AMOUNT"];
        ui.table(&headers, &rows, "there is nothing on it")?;
        ui.data(&format!(
            "total {} {}, with {} tax ({} %)",
            document.total, document.currency, document.tax, document.tax_percent
        ))?;
        if invoice.state == "draft" {
            ui.note(&format!("make it final: weir invoice finalize {}", invoice.id));
        }
        Ok(())
    })
}

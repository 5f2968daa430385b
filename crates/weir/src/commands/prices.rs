use std::path::PathBuf;

use weir_api::{Price, PriceBook, PriceChange, PublishPrices};

use crate::amounts::minute;
use crate::failure::{Failure, Result};
use crate::output::{Cell, Look, Ui};
use crate::session::Session;

/// Largest file of prices that is sent.
const FILE_BYTES: usize = 64 << 10;

/// Show the prices, and publish new ones.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  weir prices\n  weir prices show 3 --toml > prices.toml\n  weir prices publish prices.toml --dry-run\n  weir prices publish prices.toml"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// All versions, not only the one in force.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Publish a new version of the prices. What is leased already keeps its prices.
    Publish {
        /// The file; docs/reference/prices.md describes it.
        file: PathBuf,
        /// Only check it and say what would change.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show one version.
    Show {
        /// Its number.
        version: u32,
        /// As the file that `weir prices publish` takes.
        #[arg(long, conflicts_with = "json")]
        toml: bool,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let client = session.client()?;
    let ui = &session.ui;
    match args.verb {
        None => {
            let books: Vec<PriceBook> = client.get("/v1/prices").await?;
            let books: Vec<PriceBook> = books.into_iter().filter(|book| args.all || book.in_force).collect();
            ui.result(&books, || books.iter().try_for_each(|book| show(ui, book)))
        }
        Some(Verb::Show { version, toml }) => {
            let book: PriceBook = client.get(&format!("/v1/prices/{version}")).await?;
            if toml {
                return ui.data(book.toml.trim_end());
            }
            ui.result(&book, || show(ui, &book))
        }
        Some(Verb::Publish { file, dry_run }) => {
            let toml = std::fs::read_to_string(&file).map_err(|error| Failure::file("read", &file, &error))?;
            if toml.len() > FILE_BYTES {
                return Err(Failure::usage(format!(
                    "{} has {} bytes; at most {FILE_BYTES} are read",
                    file.display(),
                    toml.len()
                )));
            }
            let change: PriceChange = client.post("/v1/prices", &PublishPrices { toml, dry_run }).await?;
            ui.result(&change, || tell(ui, &change))
        }
    }
}

fn show(ui: &Ui, book: &PriceBook) -> Result<()> {
    let state = if book.in_force { "in force" } else { "not in force" };
    ui.data(&format!(
        "{}  {}  valid from {}  {}",
        ui.out(Look::Bold, &format!("version {}", book.version)),
        book.currency,
        minute(&book.valid_from),
        ui.out(if book.in_force { Look::Good } else { Look::Faint }, state)
    ))?;
    let rows: Vec<Vec<Cell>> = book
        .prices
        .iter()
        .map(|price| vec![price.sku.as_str().into(), price.price.text.as_str().into()])
        .collect();
    ui.table(&["FOR", "PRICE"], &rows, "everything is free")
}

fn tell(ui: &Ui, change: &PriceChange) -> Result<()> {
    let text = |price: &Option<Price>| {
        price
            .as_ref()
            .map_or_else(|| "free".to_owned(), |price| price.text.clone())
    };
    let rows: Vec<Vec<Cell>> = change
        .changes
        .iter()
        .map(|one| {
            vec![
                one.sku.as_str().into(),
                text(&one.before).into(),
                text(&one.after).into(),
            ]
        })
        .collect();
    ui.table(&["FOR", "BEFORE", "AFTER"], &rows, "no price changes")?;
    ui.note(&if change.done {
        format!(
            "version {} is published; it holds for what is leased from {} on, and what is leased keeps its prices",
            change.version,
            minute(&change.valid_from)
        )
    } else {
        format!("nothing was published; it would be version {}", change.version)
    });
    Ok(())
}

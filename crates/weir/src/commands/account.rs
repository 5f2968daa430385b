use weir_api::{Account, CreateAccount, CreateDeposit, CreatePromise, SetBilling, SetStopOrder, TimeZone, Transfer};

use crate::amounts::{account_name, local, minute, parse_amount, shown};
use crate::client::Client;
use crate::context::project_name;
use crate::failure::{Failure, Result};
use crate::output::{Cell, Look, Ui};
use crate::session::Session;

const TIME_ZONE: &str = "/v1/time-zone";

/// Accounts: who pays for which projects, and with what.
///
/// Billing is off by default: then only caps bound what is spent. With billing on, the balance does
/// too. A project stays with the account that it was made with (`weir project create --account`);
/// moving one is not supported.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  weir account                               # the account `default`\n  weir account create customer-7\n  weir project create shop --account customer-7\n  weir account topup customer-7 10.00 --reference 'transfer 4711'\n  weir account promise customer-7 5.00 --due 2026-12-01\n  weir account billing customer-7 on\n  weir account time-zone Europe/Berlin       # in which months begin and dates are meant\n  weir account stop-order customer-7 blog,shop  # blog stops before shop"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// The account; otherwise `default`.
    name: Option<String>,
}

/// A payment; flattened into the verbs that take one.
#[derive(Debug, clap::Args)]
struct Payment {
    /// The account.
    name: String,
    /// How much, for example 10.00.
    #[arg(allow_negative_numbers = true)]
    amount: String,
    /// Of your own choice: the same one again is done once. Otherwise a random one, which is shown.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make an account.
    Create {
        /// 1 to 30 of a-z, 0-9 and -.
        name: String,
    },
    /// List accounts.
    List,
    /// Book money that was paid in. Debt is paid off first.
    Topup {
        #[command(flatten)]
        payment: Payment,
        /// What it was: the number of a bank transfer, say.
        #[arg(long, value_name = "TEXT")]
        reference: String,
    },
    /// Give credit to begin with. It is spent first.
    Trial {
        #[command(flatten)]
        payment: Payment,
        /// What for.
        #[arg(long, value_name = "TEXT", default_value = "trial credit")]
        reference: String,
    },
    /// Count on a payment that is to come, one at a time. Raises the balance, never a cap.
    Promise {
        #[command(flatten)]
        payment: Payment,
        /// Until when it will be paid: a date such as 2026-12-01 (its end in the time zone that `weir
        /// account time-zone` shows), or an instant.
        #[arg(long, value_name = "DATE")]
        due: String,
    },
    /// Say whether the balance bounds what is spent.
    Billing {
        /// The account.
        name: String,
        /// On, or off: then only caps do.
        #[arg(value_parser = ["on", "off"])]
        state: String,
    },
    /// Say which project stops first when the balance ends.
    StopOrder {
        /// The account.
        name: String,
        /// Projects, separated by commas: the first stops first. Those not named stop before.
        #[arg(value_delimiter = ',', required = true)]
        projects: Vec<String>,
    },
    /// Show or set the time zone in which the periods of caps and the months of invoices begin and
    /// dates are meant. There is one for all accounts.
    TimeZone {
        /// A name of the IANA database, such as Europe/Berlin. Periods that run end when they were
        /// to end.
        name: Option<String>,
    },
    /// List the movements of money, newest first.
    Transfers {
        /// The account.
        name: String,
        /// At most so many, 1 to 500.
        #[arg(long = "lines", short = 'n', default_value_t = 50, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=500))]
        lines: u32,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let (client, ui) = (session.client()?, &session.ui);
    match args.verb {
        None => {
            let name = account_name(args.name.as_deref().unwrap_or("default"))?;
            let account: Account = client.get(&path(&name, "")).await?;
            ui.result(&account, || show(ui, &account))
        }
        Some(Verb::Create { name }) => {
            let name = account_name(&name)?;
            let account: Account = client.post("/v1/accounts", &CreateAccount { name }).await?;
            ui.result(&account, || {
                ui.note(&format!(
                    "projects for it: weir project create NAME --account {}",
                    account.name
                ));
                ui.data(&account.name)
            })
        }
        Some(Verb::List) => {
            let accounts: Vec<Account> = client.get("/v1/accounts").await?;
            ui.result(&accounts, || list(ui, &accounts))
        }
        Some(Verb::Topup { payment, reference }) => deposit(&client, ui, payment, "cash", reference).await,
        Some(Verb::Trial { payment, reference }) => deposit(&client, ui, payment, "trial", reference).await,
        Some(Verb::Promise { payment, due }) => {
            let name = account_name(&payment.name)?;
            let amount = parse_amount(&payment.amount, "weir account promise NAME 5.00 --due 2026-12-01")?.to_string();
            let id = payment_id(ui, payment.id);
            let promise = CreatePromise { id, amount, due };
            let account: Account = client.post(&path(&name, "/promises"), &promise).await?;
            ui.result(&account, || show(ui, &account))
        }
        Some(Verb::Billing { name, state }) => {
            let name = account_name(&name)?;
            let billing = SetBilling { on: state == "on" };
            let account: Account = client.put(&path(&name, "/billing"), &billing).await?;
            ui.result(&account, || show(ui, &account))
        }
        Some(Verb::StopOrder { name, projects }) => {
            let name = account_name(&name)?;
            let projects = projects
                .iter()
                .map(|project| Ok(project_name(project)?.to_string()))
                .collect::<Result<Vec<String>>>()?;
            let account: Account = client
                .put(&path(&name, "/stop-order"), &SetStopOrder { projects })
                .await?;
            ui.result(&account, || show(ui, &account))
        }
        Some(Verb::TimeZone { name }) => {
            let zone: TimeZone = match name {
                None => client.get(TIME_ZONE).await?,
                Some(time_zone) => client.put(TIME_ZONE, &TimeZone { time_zone }).await?,
            };
            ui.result(&zone, || ui.data(&zone.time_zone))
        }
        Some(Verb::Transfers { name, lines }) => {
            let name = account_name(&name)?;
            let query = [("limit", lines.to_string())];
            let transfers: Vec<Transfer> = client.get_query(&path(&name, "/transfers"), &query).await?;
            ui.result(&transfers, || table(ui, &transfers))
        }
    }
}

fn path(name: &str, rest: &str) -> String {
    format!("/v1/accounts/{name}{rest}")
}

fn payment_id(ui: &Ui, given: Option<String>) -> String {
    given.unwrap_or_else(|| {
        let id = format!("cli-{:032x}", fastrand::u128(..));
        ui.note(&format!(
            "its id is {id}; if you cannot tell whether it was booked, repeat it with --id {id}"
        ));
        id
    })
}

async fn deposit(client: &Client, ui: &Ui, payment: Payment, fund: &str, reference: String) -> Result<()> {
    let name = account_name(&payment.name)?;
    let amount = parse_amount(&payment.amount, "weir account topup NAME 10.00 --reference …")?.to_string();
    if reference.trim().is_empty() {
        return Err(Failure::usage("the reference is empty").hint("say what it was: --reference 'transfer 4711'"));
    }
    let deposit = CreateDeposit {
        id: payment_id(ui, payment.id),
        fund: fund.to_owned(),
        amount,
        reference,
    };
    let account: Account = client.post(&path(&name, "/deposits"), &deposit).await?;
    ui.result(&account, || show(ui, &account))
}

fn billing(account: &Account) -> &'static str {
    if account.billing { "on" } else { "off" }
}

fn show(ui: &Ui, account: &Account) -> Result<()> {
    ui.data(&format!(
        "{}  balance {} {}  billing {}",
        ui.out(Look::Bold, &account.name),
        shown(&account.balance),
        account.currency,
        billing(account)
    ))?;
    let mut rows: Vec<Vec<Cell>> = vec![
        vec!["trial".into(), shown(&account.trial).into(), "".into()],
        vec![
            "promised".into(),
            shown(&account.promised).into(),
            account
                .due
                .as_deref()
                .map(|due| format!("due {} {}", local(due, &account.time_zone), account.time_zone))
                .unwrap_or_default()
                .into(),
        ],
        vec!["cash".into(), shown(&account.cash).into(), "".into()],
    ];
    rows.push(vec![
        Cell::looking(Look::Faint, "held ahead"),
        shown(&account.held).into(),
        "".into(),
    ]);
    if account.debt != "0.00" {
        rows.push(vec![
            Cell::looking(Look::Bad, "debt"),
            shown(&account.debt).into(),
            "".into(),
        ]);
    }
    ui.table(&["FUND", "LEFT", ""], &rows, "")?;
    if !account.billing {
        ui.note("billing is off: only caps bound what is spent, the balance does not");
    }
    if !account.projects.is_empty() {
        ui.data(&format!("projects: {}", account.projects.join(", ")))?;
    }
    if !account.stop_order.is_empty() {
        ui.data(&format!(
            "when the balance ends, stops first: {}",
            account.stop_order.join(", ")
        ))?;
    }
    Ok(())
}

fn list(ui: &Ui, accounts: &[Account]) -> Result<()> {
    let rows: Vec<Vec<Cell>> = accounts
        .iter()
        .map(|account| {
            vec![
                Cell::looking(Look::Bold, account.name.as_str()),
                format!("{} {}", shown(&account.balance), account.currency).into(),
                billing(account).into(),
                account.projects.join(", ").into(),
            ]
        })
        .collect();
    ui.table(
        &["ACCOUNT", "BALANCE", "BILLING", "PROJECTS"],
        &rows,
        "there are no accounts",
    )
}

fn table(ui: &Ui, transfers: &[Transfer]) -> Result<()> {
    let rows: Vec<Vec<Cell>> = transfers
        .iter()
        .map(|transfer| {
            vec![
                minute(&transfer.at).into(),
                transfer.from.as_str().into(),
                transfer.to.as_str().into(),
                transfer.amount.as_str().into(),
                transfer.reference.as_str().into(),
                transfer.id.as_str().into(),
            ]
        })
        .collect();
    ui.table(
        &["AT", "FROM", "TO", "AMOUNT", "REFERENCE", "ID"],
        &rows,
        "no money has moved yet",
    )
}

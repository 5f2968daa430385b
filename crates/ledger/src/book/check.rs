//! What must be true of the books at any time, for the audit.

use super::event::{Change, Event};
use super::{Funds, Ledger, Pot, Scope};
use crate::money::Nano;

impl Ledger {
    /// What an event that was just taken in has left wrong, in words; empty if nothing.
    pub(crate) fn wrong_after(&self, event: &Event) -> Vec<String> {
        let mut wrong = Vec::new();
        match &event.change {
            Change::Granted { lease, .. } | Change::Returned { lease, .. } => self.check_lease(*lease, &mut wrong),
            Change::Settled { lease, lines, .. } => {
                self.check_lease(*lease, &mut wrong);
                self.check_lines(*lease, &mut wrong);
                for settled in lines.iter().filter(|settled| settled.loss > Nano::ZERO) {
                    wrong.push(format!(
                        "lease {lease} used more {} than it held: {} borne by the provider",
                        settled.line.sku, settled.loss
                    ));
                }
            }
            _ => {}
        }
        wrong
    }

    fn check_lease(&self, number: u64, wrong: &mut Vec<String>) {
        let Some(lease) = self.books.leases.get(&number) else {
            wrong.push(format!("lease {number} is not open"));
            return;
        };
        let held = lease.granted.0 - lease.returned.0 - lease.settled.0;
        if held != lease.funds.total().0 {
            wrong.push(format!(
                "lease {number} holds {}, which is not granted less returned less settled",
                lease.funds.total()
            ));
        }
        if is_negative(lease.funds) {
            wrong.push(format!("lease {number} has spent more than was granted"));
        }
    }

    /// Each line costs what its units cost, rounded up once.
    fn check_lines(&self, number: u64, wrong: &mut Vec<String>) {
        let Some(lease) = self.books.leases.get(&number) else {
            return;
        };
        let environment = self.books.environments.get(&lease.key.environment);
        let sheets = environment.into_iter().flat_map(|book| &book.sheets);
        let prices = self.books.prices.get(&lease.price_version);
        for sheet in sheets.filter(|sheet| sheet.is(lease.windows, lease.price_version)) {
            for (key, line) in &sheet.lines {
                let cost = prices.and_then(|book| book.price(&key.sku).line(line.units));
                if cost != line.cost.checked_add(line.loss) {
                    wrong.push(format!(
                        "the line {} of {} costs {}, which is not its units at their price",
                        key.sku, lease.key.environment, line.cost
                    ));
                }
                if is_negative(line.spare) {
                    wrong.push(format!("the line {} of {} overdraws", key.sku, lease.key.environment));
                }
            }
        }
    }

    /// Whether the sum of an environment's lines is what is settled; what differs, in words.
    pub(crate) fn wrong_lines(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (scope, book) in &self.books.scopes {
            let Scope::Environment(environment) = scope else {
                continue;
            };
            let sheets = self.books.environments.get(environment).into_iter();
            let lines = sheets
                .flat_map(|book| &book.sheets)
                .filter(|sheet| sheet.windows[0] == book.window.number)
                .flat_map(|sheet| sheet.lines.values());
            let sum: Nano = lines.map(|line| line.cost).sum();
            if sum != book.window.settled {
                wrong.push(format!(
                    "the lines of {environment} are {sum}, but {} is settled",
                    book.window.settled
                ));
            }
        }
        wrong
    }

    /// What an account's books say that a pot of the double entry holds.
    pub(crate) fn pots(&self, account: weir_model::AccountId) -> Vec<(Pot, i128)> {
        let Some(book) = self.books.accounts.get(&account) else {
            return Vec::new();
        };
        let promised = book.promise.as_ref().map_or(0, |promise| promise.outstanding.0);
        let mut pots = vec![
            (Pot::Wallet(super::Fund::Trial), i128::from(book.free.trial.0)),
            (Pot::Wallet(super::Fund::Promised), i128::from(book.free.promised.0)),
            (Pot::Wallet(super::Fund::Cash), i128::from(book.free.cash.0)),
            (Pot::Held, i128::from(book.held.total().0)),
            (Pot::Reserve, i128::from(book.reserved.total().0)),
            (Pot::Debt, -i128::from(book.debt.0)),
            (Pot::Promised, -i128::from(promised)),
            (Pot::Loss, -i128::from(book.loss.0)),
        ];
        pots.extend(
            book.usage
                .iter()
                .map(|(sku, amount)| (Pot::Usage(sku.clone()), i128::from(amount.0))),
        );
        pots
    }

    /// Whether an account has less than nothing anywhere.
    pub(crate) fn is_overdrawn(&self, account: weir_model::AccountId) -> bool {
        self.books.accounts.get(&account).is_some_and(|book| {
            let debts = [book.debt, book.loss];
            [book.free, book.held, book.reserved].into_iter().any(is_negative)
                || debts
                    .into_iter()
                    .chain(book.usage.values().copied())
                    .any(|amount| amount < Nano::ZERO)
        })
    }
}

fn is_negative(funds: Funds) -> bool {
    [funds.trial, funds.promised, funds.cash, funds.own]
        .into_iter()
        .any(|part| part < Nano::ZERO)
}

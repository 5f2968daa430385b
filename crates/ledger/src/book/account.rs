//! Taking events about an account's money in: payments, promises, corrections, invoices, reserves.

use weir_model::AccountId;

use super::event::{Change, Home};
use super::state::{AccountBook, Books, Document, DocumentKind, PromiseBook};
use super::{Fund, Funds, Scope};
use crate::money::Nano;

impl Books {
    pub(super) fn account_changed(&mut self, change: &Change) {
        match change {
            Change::BillingSet { account, on } => self.accounts.entry(*account).or_default().billing = *on,
            Change::StopOrderSet { account, projects } => {
                self.accounts.entry(*account).or_default().stop_order = projects.clone();
            }
            Change::Reserved {
                environment,
                account,
                added,
                freed,
                home,
            } => {
                let book = self.environments.entry(*environment).or_default();
                book.reserve += *added;
                book.reserve -= *freed;
                let mut scope = Some(Scope::Environment(*environment));
                while let Some(book) = scope.and_then(|scope| self.scopes.get_mut(&scope)) {
                    book.reserved += added.total();
                    book.reserved -= freed.total();
                    scope = book.parent;
                }
                let account = self.accounts.entry(*account).or_default();
                account.free -= of_wallets(*added);
                account.reserved += *added;
                account.reserved -= *freed;
                account.welcome(*home);
            }
            change => self.document(change),
        }
    }

    fn document(&mut self, change: &Change) {
        match change {
            Change::Deposited {
                id,
                body,
                account,
                fund,
                amount,
                debt,
                promise,
                kept,
                ..
            } => {
                self.done(id, body, *account, DocumentKind::Deposit);
                let book = self.accounts.entry(*account).or_default();
                book.paid(*fund, Nano(amount.0 - debt.0 - promise.0));
                book.settle_debts(*debt, *promise, *kept);
            }
            Change::Promised {
                id,
                body,
                account,
                amount,
                due_ms,
            } => {
                self.done(id, body, *account, DocumentKind::Promise);
                let book = self.accounts.entry(*account).or_default();
                book.free.promised += *amount;
                book.promise = Some(PromiseBook {
                    outstanding: *amount,
                    due_ms: *due_ms,
                });
            }
            Change::PromiseBroken {
                account,
                unspent,
                debt,
                repaid,
            } => {
                let book = self.accounts.entry(*account).or_default();
                book.promise = None;
                book.free.promised -= *unspent;
                book.free.cash -= *repaid;
                book.debt += *debt;
                book.debt -= *repaid;
            }
            Change::Corrected {
                id,
                body,
                account,
                amount,
                debt,
                ..
            } => {
                self.done(id, body, *account, DocumentKind::Correction);
                let book = self.accounts.entry(*account).or_default();
                book.debt -= *debt;
                book.free.cash += Nano(amount.0 - debt.0);
            }
            Change::Invoiced {
                id,
                body,
                account,
                usage,
                ..
            } => {
                self.done(id, body, *account, DocumentKind::Invoice);
                let book = self.accounts.entry(*account).or_default();
                for (sku, amount) in usage {
                    *book.usage.entry(sku.clone()).or_default() -= *amount;
                }
            }
            _ => {}
        }
    }

    fn done(&mut self, id: &str, body: &str, account: AccountId, kind: DocumentKind) {
        let body = body.to_owned();
        self.documents.insert(id.to_owned(), Document { body, account, kind });
    }
}

/// Without the part that has no wallet.
pub(super) fn of_wallets(funds: Funds) -> Funds {
    Funds {
        own: Nano::ZERO,
        ..funds
    }
}

impl AccountBook {
    /// What of a payment is there to be spent.
    fn paid(&mut self, fund: Fund, rest: Nano) {
        match fund {
            Fund::Trial => self.free.trial += rest,
            Fund::Promised | Fund::Cash => self.free.cash += rest,
        }
    }

    /// What of a payment was owed; as a promise is kept, promised money becomes cash.
    fn settle_debts(&mut self, debt: Nano, promise: Nano, kept: Nano) {
        self.debt -= debt;
        if let Some(open) = &mut self.promise {
            open.outstanding -= promise;
        }
        self.promise.take_if(|open| open.outstanding == Nano::ZERO);
        self.free.promised -= kept;
        self.free.cash += kept;
    }

    pub(super) fn come_home(&mut self, funds: Funds, home: Home) {
        self.held -= funds;
        self.welcome(home);
    }

    fn welcome(&mut self, home: Home) {
        self.free += of_wallets(home.funds);
        self.debt -= home.debt;
    }
}

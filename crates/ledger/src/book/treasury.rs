//! Money that comes in, is promised, corrected, invoiced and reserved.

use weir_model::{AccountId, EnvironmentId, UnixMillis};

use super::event::{Change, Home};
use super::handle::{Desk, body_hash, in_range, invalid};
use super::live::Shortage;
use super::scopes::{Resume, unknown};
use super::state::{AccountBook, DocumentKind};
use super::{Command, Fund, Funds, Refusal, Scope};
use crate::money::Nano;
use crate::price::Sku;
use crate::protocol::DenialReason;

const DAY_MS: i64 = 86_400_000;

impl Desk<'_> {
    /// Commands about an account's money.
    pub(super) fn treasury(&mut self, command: &Command) -> Result<(), Refusal> {
        match command {
            Command::SetBilling { account, on } => {
                if self.account(*account)?.billing != *on {
                    self.emit(Change::BillingSet {
                        account: *account,
                        on: *on,
                    });
                    self.resume_account(*account);
                }
                Ok(())
            }
            Command::SetStopOrder { account, projects } => {
                if self.account(*account)?.stop_order != *projects {
                    self.emit(Change::StopOrderSet {
                        account: *account,
                        projects: projects.clone(),
                    });
                }
                Ok(())
            }
            Command::Reserve { environment, total } => self.reserve(*environment, *total),
            Command::Deposit { id, account, .. }
            | Command::Promise { id, account, .. }
            | Command::Correct { id, account, .. }
            | Command::Invoice { id, account, .. } => {
                let body = body_hash(command)?;
                if let Some(done) = self.books().documents.get(id) {
                    return if done.body == body {
                        Ok(())
                    } else {
                        Err(Refusal::IdTaken(id.clone()))
                    };
                }
                self.account(*account)?;
                let change = self.document(command, body)?;
                self.emit(change);
                self.resume_account(*account);
                Ok(())
            }
            _ => Err(invalid("not a command about money")),
        }
    }

    fn document(&self, command: &Command, body: String) -> Result<Change, Refusal> {
        match command {
            Command::Deposit {
                id,
                account,
                fund,
                amount,
                reference,
            } => {
                let book = self.account(*account)?;
                let (debt, promise, kept) = accept(book, *fund, *amount)?;
                Ok(Change::Deposited {
                    id: id.clone(),
                    body,
                    account: *account,
                    fund: *fund,
                    amount: *amount,
                    reference: reference.clone(),
                    debt,
                    promise,
                    kept,
                })
            }
            Command::Promise {
                id,
                account,
                amount,
                due_ms,
            } => {
                self.may_promise(*account, *amount, *due_ms)?;
                Ok(Change::Promised {
                    id: id.clone(),
                    body,
                    account: *account,
                    amount: *amount,
                    due_ms: *due_ms,
                })
            }
            Command::Correct {
                id,
                account,
                amount,
                corrects,
                reason,
            } => {
                let outside = self.is_payment(*account, corrects)?;
                let debt = correction(self.account(*account)?, *amount)?;
                Ok(Change::Corrected {
                    id: id.clone(),
                    body,
                    account: *account,
                    amount: *amount,
                    corrects: corrects.clone(),
                    reason: reason.clone(),
                    outside,
                    debt,
                })
            }
            Command::Invoice {
                id,
                account,
                usage,
                tax,
                rounding,
            } => {
                may_invoice(self.account(*account)?, usage, *tax, *rounding)?;
                Ok(Change::Invoiced {
                    id: id.clone(),
                    body,
                    account: *account,
                    usage: usage.clone(),
                    tax: *tax,
                    rounding: *rounding,
                })
            }
            _ => Err(invalid("not a document")),
        }
    }

    fn account(&self, account: AccountId) -> Result<&AccountBook, Refusal> {
        let book = self.books().accounts.get(&account);
        book.ok_or_else(|| unknown(Scope::Account(account)))
    }

    fn may_promise(&self, account: AccountId, amount: Nano, due_ms: UnixMillis) -> Result<(), Refusal> {
        let settings = &self.books().settings;
        let book = self.account(account)?;
        if book.promise.is_some() {
            return Err(Refusal::PromiseOpen);
        }
        if book.debt > Nano::ZERO {
            return Err(invalid("an earlier promise was not kept; pay the debt first"));
        }
        if amount <= Nano::ZERO || amount > settings.promise_limit {
            return Err(invalid(&format!(
                "a promise is above 0 and at most {}",
                settings.promise_limit
            )));
        }
        let longest = i64::from(settings.promise_days).saturating_mul(DAY_MS);
        if due_ms <= self.now_ms || due_ms > self.now_ms.saturating_add(longest) {
            return Err(invalid(&format!(
                "a promise is due within {} days",
                settings.promise_days
            )));
        }
        is_writable(book, amount)
    }

    /// Whether a document of this account that can be corrected is a payment.
    fn is_payment(&self, account: AccountId, id: &str) -> Result<bool, Refusal> {
        let document = self
            .books()
            .documents
            .get(id)
            .filter(|document| document.account == account);
        match document.map(|document| document.kind) {
            Some(DocumentKind::Deposit) => Ok(true),
            Some(DocumentKind::Invoice | DocumentKind::Correction) => Ok(false),
            Some(DocumentKind::Promise) => Err(invalid("a promise is paid or falls due; it is not corrected")),
            None => Err(Refusal::Unknown(id.to_owned())),
        }
    }

    /// Promises that were not kept in time: what is not spent is taken back, the rest is a debt.
    pub(super) fn promises_due(&mut self) {
        let now_ms = self.now_ms;
        let accounts = self.books().accounts.iter();
        let broken: Vec<Change> = accounts
            .filter_map(|(account, book)| {
                let promise = book.promise.as_ref().filter(|promise| promise.due_ms <= now_ms)?;
                let unspent = book.free.promised.min(promise.outstanding);
                let debt = promise.outstanding.saturating_sub(unspent);
                Some(Change::PromiseBroken {
                    account: *account,
                    unspent,
                    debt,
                    repaid: book.free.cash.min(debt),
                })
            })
            .collect();
        for change in broken {
            self.emit(change);
        }
    }

    /// The tail of what is stored: held like a lease, in every scope of the path.
    fn reserve(&mut self, environment: EnvironmentId, total: Nano) -> Result<(), Refusal> {
        if total < Nano::ZERO || !in_range(total) {
            return Err(invalid("a reserve is from 0 to a thousand million"));
        }
        let scope = Scope::Environment(environment);
        let project = self.books().scopes.get(&scope).and_then(|book| book.parent);
        let account = project.and_then(|project| self.books().scopes.get(&project)?.parent);
        let Some(Scope::Account(account)) = account else {
            return Err(unknown(scope));
        };
        let held = self
            .books()
            .environments
            .get(&environment)
            .map_or(Funds::ZERO, |book| book.reserve);
        let (added, freed) = if total > held.total() {
            let more = total.saturating_sub(held.total());
            (self.reservable(environment, account, more)?, Funds::ZERO)
        } else {
            (Funds::ZERO, held.last(held.total().saturating_sub(total)))
        };
        if added == Funds::ZERO && freed == Funds::ZERO {
            return Ok(());
        }
        let home = match freed {
            Funds::ZERO => Home::default(),
            freed => self.home(account, freed),
        };
        self.emit(Change::Reserved {
            environment,
            account,
            added,
            freed,
            home,
        });
        Ok(())
    }

    /// What a reserve can be made of. The pace does not bound it: it is not spent.
    fn reservable(&mut self, environment: EnvironmentId, account: AccountId, more: Nano) -> Result<Funds, Refusal> {
        let gone = Refusal::NoRoom(DenialReason::Gone);
        let path = self.path(environment).ok_or(gone)?;
        path.into_iter().for_each(|scope| self.roll(scope));
        let reasons = [
            DenialReason::EnvironmentCap,
            DenialReason::ProjectCap,
            DenialReason::AccountCap,
        ];
        for (scope, reason) in path.into_iter().zip(reasons) {
            let room = self.books().scopes.get(&scope).and_then(super::state::ScopeBook::room);
            if room.is_some_and(|room| room < more) {
                self.ledger.live.short(scope, self.now_ms, Shortage::Near);
                return Err(Refusal::NoRoom(reason));
            }
        }
        let book = self.account(account)?;
        if !book.billing {
            return Ok(Funds::own(more));
        }
        if book.free.total() < more || book.debt > Nano::ZERO {
            return Err(Refusal::NoRoom(DenialReason::Balance));
        }
        Ok(book.free.first(more))
    }

    /// Lets the projects of an account go on that its balance has stopped.
    fn resume_account(&mut self, account: AccountId) {
        let scopes = self.books().scopes.iter();
        let stopped: Vec<Scope> = scopes
            .filter(|(_, book)| {
                let by_balance = book.stopped.is_some_and(|stop| stop.reason == DenialReason::Balance);
                by_balance && book.parent == Some(Scope::Account(account))
            })
            .map(|(scope, _)| *scope)
            .collect();
        for scope in stopped {
            self.resume(scope, Resume::AtOnce);
        }
    }
}

/// How a payment is used: it repays debt, then an open promise; then it is there to be spent.
/// As a promise is kept, what is not spent of it becomes cash.
fn accept(book: &AccountBook, fund: Fund, amount: Nano) -> Result<(Nano, Nano, Nano), Refusal> {
    if amount <= Nano::ZERO || !in_range(amount) {
        return Err(invalid("a payment is above 0 and at most a thousand million"));
    }
    is_writable(book, amount)?;
    match fund {
        Fund::Trial => Ok((Nano::ZERO, Nano::ZERO, Nano::ZERO)),
        Fund::Promised => Err(invalid("a promise has a due date; it is not a payment")),
        Fund::Cash => {
            let debt = book.debt.min(amount);
            let outstanding = book.promise.as_ref().map_or(Nano::ZERO, |promise| promise.outstanding);
            let promise = outstanding.min(amount.saturating_sub(debt));
            let left = outstanding.saturating_sub(promise);
            Ok((debt, promise, book.free.promised.saturating_sub(left).max(Nano::ZERO)))
        }
    }
}

/// What a correction does to debt: repays it, or makes it where cash does not suffice.
fn correction(book: &AccountBook, amount: Nano) -> Result<Nano, Refusal> {
    if amount == Nano::ZERO || !in_range(amount) {
        return Err(invalid("a correction is not 0, and at most a thousand million"));
    }
    if amount > Nano::ZERO {
        is_writable(book, amount)?;
        return Ok(book.debt.min(amount));
    }
    let lacking = Nano(-amount.0).saturating_sub(book.free.cash).max(Nano::ZERO);
    if !in_range(book.debt.saturating_add(lacking)) {
        return Err(invalid("so much debt cannot be written"));
    }
    Ok(Nano(-lacking.0))
}

/// All of an account's money together must stay in range.
fn is_writable(book: &AccountBook, more: Nano) -> Result<(), Refusal> {
    let all = [book.free.total(), book.held.total(), book.reserved.total(), more];
    if in_range(all.into_iter().sum()) {
        Ok(())
    } else {
        Err(invalid("so large a balance cannot be written"))
    }
}

fn may_invoice(book: &AccountBook, usage: &[(Sku, Nano)], tax: Nano, rounding: Nano) -> Result<(), Refusal> {
    let mut sum = Nano::ZERO;
    for (place, (sku, amount)) in usage.iter().enumerate() {
        let there = book.usage.get(sku).copied().unwrap_or(Nano::ZERO);
        if *sku == Sku::LOST {
            return Err(invalid("what is lost is never invoiced"));
        }
        if usage[..place].iter().any(|(earlier, _)| earlier == sku) {
            return Err(invalid(&format!("{sku} is listed twice")));
        }
        if *amount < Nano::ZERO || *amount > there {
            return Err(invalid(&format!("of {sku} only {there} is not invoiced yet")));
        }
        sum = sum.saturating_add(*amount);
    }
    if tax < Nano::ZERO || tax > sum {
        return Err(invalid("tax is a part of the sum"));
    }
    if rounding.0.unsigned_abs() > 1_000_000_000 {
        return Err(invalid("rounding is less than one unit of the currency"));
    }
    Ok(())
}

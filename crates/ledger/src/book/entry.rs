//! Double entry: every event as movements of money, each from one pot into another, so that the
//! sum of all pots is zero always. Nothing is updated or deleted; a correction is a new movement.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use weir_model::AccountId;

use super::event::{Change, Event, Home};
use super::{Fund, Funds};
use crate::money::Nano;
use crate::price::Sku;

/// Where money can be, for one account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pot {
    /// What can be spent.
    Wallet(Fund),
    /// Where the money of an owner comes from who is not billed; never above zero.
    Own,
    /// Leased to meters.
    Held,
    /// Used and not invoiced yet.
    Usage(Sku),
    /// Owed by a promise.
    Promised,
    /// Owed by a promise that was broken, or a payment that was taken back.
    Debt,
    /// The bank.
    Payments,
    /// Given by the provider as trial credit.
    Given,
    /// Held for the time after the spending.
    Reserve,
    /// Borne by the provider.
    Loss,
    /// Ledger against documents in whole cents.
    Rounding,
    /// The provider's.
    Revenue,
    /// The state's.
    Tax,
}

impl fmt::Display for Pot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wallet(Fund::Trial) => "wallet:trial",
            Self::Wallet(Fund::Promised) => "wallet:promised",
            Self::Wallet(Fund::Cash) => "wallet:cash",
            Self::Own => "wallet:own",
            Self::Held => "held",
            Self::Usage(sku) => return write!(f, "usage:{sku}"),
            Self::Promised => "receivable:promised",
            Self::Debt => "receivable:debt",
            Self::Payments => "external:payments",
            Self::Given => "external:trial",
            Self::Reserve => "reserve:storage",
            Self::Loss => "platform:loss",
            Self::Rounding => "rounding",
            Self::Revenue => "revenue",
            Self::Tax => "tax",
        })
    }
}

/// Not the name of a pot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an account of the double entry")]
pub struct UnknownPot(String);

impl FromStr for Pot {
    type Err = UnknownPot;

    fn from_str(text: &str) -> Result<Self, UnknownPot> {
        Ok(match text {
            "wallet:trial" => Self::Wallet(Fund::Trial),
            "wallet:promised" => Self::Wallet(Fund::Promised),
            "wallet:cash" => Self::Wallet(Fund::Cash),
            "wallet:own" => Self::Own,
            "held" => Self::Held,
            "receivable:promised" => Self::Promised,
            "receivable:debt" => Self::Debt,
            "external:payments" => Self::Payments,
            "external:trial" => Self::Given,
            "reserve:storage" => Self::Reserve,
            "platform:loss" => Self::Loss,
            "rounding" => Self::Rounding,
            "revenue" => Self::Revenue,
            "tax" => Self::Tax,
            _ => {
                let sku = text.strip_prefix("usage:").and_then(Sku::new);
                return sku.map(Self::Usage).ok_or_else(|| UnknownPot(text.to_owned()));
            }
        })
    }
}

impl Serialize for Pot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A movement: `amount`, above zero, out of one pot (its debit) into another (its credit). A
/// pot's balance is its credits less its debits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Whose pots.
    pub account: AccountId,
    /// Out of.
    pub debit: Pot,
    /// Into.
    pub credit: Pot,
    /// How much.
    pub amount: Nano,
}

/// Collects the movements of one event; leaves out those of nothing.
struct Movements {
    account: AccountId,
    transfers: Vec<Transfer>,
}

impl Movements {
    /// A negative amount moves the other way.
    fn push(&mut self, debit: Pot, credit: Pot, amount: Nano) {
        let (debit, credit, amount) = if amount < Nano::ZERO {
            (credit, debit, Nano(-amount.0))
        } else {
            (debit, credit, amount)
        };
        if amount > Nano::ZERO {
            let account = self.account;
            self.transfers.push(Transfer {
                account,
                debit,
                credit,
                amount,
            });
        }
    }

    fn spend(&mut self, funds: Funds, credit: &Pot) {
        self.push(Pot::Wallet(Fund::Trial), credit.clone(), funds.trial);
        self.push(Pot::Wallet(Fund::Promised), credit.clone(), funds.promised);
        self.push(Pot::Wallet(Fund::Cash), credit.clone(), funds.cash);
        self.push(Pot::Own, credit.clone(), funds.own);
    }

    fn home(&mut self, debit: &Pot, home: Home) {
        let funds = home.funds;
        self.push(debit.clone(), Pot::Wallet(Fund::Trial), funds.trial);
        self.push(debit.clone(), Pot::Wallet(Fund::Promised), funds.promised);
        self.push(debit.clone(), Pot::Wallet(Fund::Cash), funds.cash);
        self.push(debit.clone(), Pot::Own, funds.own);
        self.push(debit.clone(), Pot::Debt, home.debt);
    }
}

impl Event {
    /// Whose money it moves; `None` if it moves none.
    pub fn payer(&self) -> Option<AccountId> {
        match &self.change {
            Change::Deposited { account, .. }
            | Change::Promised { account, .. }
            | Change::PromiseBroken { account, .. }
            | Change::Corrected { account, .. }
            | Change::Invoiced { account, .. }
            | Change::Reserved { account, .. }
            | Change::Granted { account, .. }
            | Change::Returned { account, .. }
            | Change::Settled { account, .. }
            | Change::Closed { account, .. } => Some(*account),
            Change::Configured(_)
            | Change::Opened { .. }
            | Change::CapSet { .. }
            | Change::Rolled { .. }
            | Change::Gone { .. }
            | Change::Stopped { .. }
            | Change::Resumed { .. }
            | Change::Crossed { .. }
            | Change::Published { .. }
            | Change::BillingSet { .. }
            | Change::StopOrderSet { .. }
            | Change::MeterOpened { .. }
            | Change::Fenced { .. } => None,
        }
    }

    /// The event as double entry; empty if it moves no money.
    pub fn transfers(&self) -> Vec<Transfer> {
        let Some(account) = self.payer() else {
            return Vec::new();
        };
        let mut moved = Movements {
            account,
            transfers: Vec::new(),
        };
        match &self.change {
            Change::Reserved {
                added, freed: _, home, ..
            } => {
                moved.spend(*added, &Pot::Reserve);
                moved.home(&Pot::Reserve, *home);
            }
            Change::Granted {
                funds, from_tail: true, ..
            } => moved.push(Pot::Reserve, Pot::Held, funds.total()),
            Change::Granted { funds, .. } => moved.spend(*funds, &Pot::Held),
            Change::Returned { home, .. } => moved.home(&Pot::Held, *home),
            Change::Settled { lines, .. } => {
                for settled in lines {
                    let usage = Pot::Usage(settled.line.sku.clone());
                    moved.push(Pot::Held, usage.clone(), settled.paid.total());
                    moved.push(Pot::Loss, usage, settled.loss);
                }
            }
            Change::Closed { lost, home, .. } => {
                moved.home(&Pot::Held, *home);
                moved.push(Pot::Loss, Pot::Usage(Sku::LOST), *lost);
            }
            change => documents(change, &mut moved),
        }
        moved.transfers
    }
}

/// What people do: payments, promises, corrections, invoices.
fn documents(change: &Change, moved: &mut Movements) {
    let cash = Pot::Wallet(Fund::Cash);
    match change {
        Change::Deposited {
            fund,
            amount,
            debt,
            promise,
            kept,
            ..
        } => {
            let source = if *fund == Fund::Trial {
                Pot::Given
            } else {
                Pot::Payments
            };
            let rest = Nano(amount.0 - debt.0 - promise.0);
            moved.push(source.clone(), Pot::Debt, *debt);
            moved.push(source.clone(), Pot::Promised, *promise);
            moved.push(source, Pot::Wallet(*fund), rest);
            moved.push(Pot::Wallet(Fund::Promised), cash, *kept);
        }
        Change::Promised { amount, .. } => moved.push(Pot::Promised, Pot::Wallet(Fund::Promised), *amount),
        Change::PromiseBroken {
            unspent, debt, repaid, ..
        } => {
            moved.push(Pot::Wallet(Fund::Promised), Pot::Promised, *unspent);
            moved.push(Pot::Debt, Pot::Promised, *debt);
            moved.push(cash, Pot::Debt, *repaid);
        }
        Change::Corrected {
            amount, outside, debt, ..
        } => {
            let source = if *outside { Pot::Payments } else { Pot::Revenue };
            moved.push(source.clone(), Pot::Debt, *debt);
            moved.push(source, cash, Nano(amount.0 - debt.0));
        }
        Change::Invoiced {
            usage, tax, rounding, ..
        } => {
            for (sku, amount) in usage {
                moved.push(Pot::Usage(sku.clone()), Pot::Revenue, *amount);
            }
            moved.push(Pot::Revenue, Pot::Tax, *tax);
            moved.push(Pot::Rounding, Pot::Revenue, *rounding);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pots_read_back_as_they_are_written() {
        for name in ["wallet:own", "usage:cpu", "receivable:debt", "reserve:storage", "tax"] {
            assert_eq!(name.parse::<Pot>().unwrap().to_string(), name);
        }
        assert!("usage:Not one".parse::<Pot>().is_err());
        assert!("wallet".parse::<Pot>().is_err());
    }
}

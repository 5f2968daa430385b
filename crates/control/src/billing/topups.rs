//! Money that an outside payment system says it has taken in. Who says so proves it by a signature;
//! the ledger books each payment once under its identity, however often it is told, and whatever
//! of Weir dies in between.

use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use weir_api::{SetTopups, Topup};
use weir_ledger::Nano;
use weir_ledger::book::{Command, Fund, Refusal, Reply};
use weir_store::Store;

use super::signature;
use crate::api::ApiError;
use crate::api::accounts::check_text;
use crate::api::scopes;
use crate::context::Context;
use crate::invoices;
use crate::money::MoneyError;
use crate::secrets::{Secret, hex, random_bytes};

const SETTING: &str = "billing.topups";
const PLACE: &str = "billing\0topups";
/// Keeps payments of outside systems apart from what else has an identity in the ledger.
const ID_PREFIX: &str = "topup:";
const ID_CHARACTERS: usize = 100;
const REFERENCE_CHARACTERS: usize = 200;
const SECRET_CHARACTERS: std::ops::RangeInclusive<usize> = 32..=200;

/// What is kept of the payment system.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// Sealed.
    secret: String,
}

async fn kept(store: &Store) -> Result<Option<Kept>, ApiError> {
    match store.setting_get(SETTING).await? {
        Some(text) => serde_json::from_str(&text).map_err(ApiError::internal),
        None => Ok(None),
    }
}

async fn keep(store: &Store, kept: Option<&Kept>) -> Result<(), ApiError> {
    let text = serde_json::to_string(&kept).map_err(ApiError::internal)?;
    Ok(store.setting_set(SETTING, &text).await?)
}

/// Whether top-ups are taken.
pub async fn takes_topups(store: &Store) -> Result<bool, ApiError> {
    Ok(kept(store).await?.is_some())
}

/// Takes top-ups from now on, signed with the secret that was given, or with the one that is
/// returned, and with no other.
pub async fn set_topups(context: &Context, wanted: &SetTopups) -> Result<Option<Secret>, ApiError> {
    let (secret, made) = match &wanted.secret {
        Some(secret) => (check_secret(secret)?, None),
        None => {
            let secret = new_secret();
            (secret.clone(), Some(secret))
        }
    };
    let sealed = context.sealer.seal_text(PLACE, secret.expose())?;
    keep(&context.store, Some(&Kept { secret: sealed })).await?;
    Ok(made)
}

/// Takes no top-ups any more.
pub async fn unset_topups(store: &Store) -> Result<(), ApiError> {
    keep(store, None).await
}

/// A secret to sign with.
pub(crate) fn new_secret() -> Secret {
    Secret::new(format!("whsec_{}", hex(&random_bytes::<32>())))
}

/// A secret that somebody else has made.
pub(crate) fn check_secret(text: &str) -> Result<Secret, ApiError> {
    if SECRET_CHARACTERS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Secret::new(text.to_owned()));
    }
    Err(
        ApiError::invalid("the secret has 32 to 200 characters: letters, digits and signs, no spaces")
            .with_hint("leave it out, and Weir makes one"),
    )
}

/// Why a top-up is not believed.
#[derive(Debug)]
pub enum TopupError {
    /// The signature is missing, wrong or old.
    NotSigned(ApiError),
    /// All else.
    Refused(ApiError),
}

impl From<ApiError> for TopupError {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

/// Books a top-up. What was booked before is answered as the first time.
pub async fn receive(context: &Context, headers: &HeaderMap, body: &[u8]) -> Result<Topup, TopupError> {
    let kept = kept(&context.store).await?;
    let kept = kept.ok_or_else(|| {
        ApiError::not_found("topups-off", "this Weir takes no top-ups from outside")
            .with_hint("an administrator connects a payment system: `weir billing topups on`")
    })?;
    let secret = context.sealer.open_text(PLACE, &kept.secret).map_err(ApiError::from)?;
    let signed = headers.get(signature::HEADER).and_then(|value| value.to_str().ok());
    let now_s = context.clock.now_ms().div_euclid(1_000);
    signature::check(&secret, signed, now_s, body).map_err(|words| {
        let error = ApiError::new(StatusCode::FORBIDDEN, "bad-signature", words);
        TopupError::NotSigned(error.with_hint("how to sign is in docs/reference/webhooks.md; is the secret the one that `weir billing topups on` showed, and is the clock right?"))
    })?;
    let topup = serde_json::from_slice(body).map_err(|error| {
        ApiError::invalid("the body is not a top-up")
            .with_detail(error.to_string())
            .with_hint("it has the texts id, account, amount, currency and reference")
    })?;
    Ok(book(context, topup).await?)
}

async fn book(context: &Context, wanted: Topup) -> Result<Topup, ApiError> {
    let id = check_text("id", &wanted.id, ID_CHARACTERS)?;
    let reference = check_text("reference", &wanted.reference, REFERENCE_CHARACTERS)?;
    let account = scopes::account(context, &wanted.account).await?;
    let currency = context.money.book().currency;
    if wanted.currency != currency {
        let shown: String = wanted.currency.chars().take(10).collect();
        return Err(ApiError::invalid(format!(
            "the top-up is in `{shown}`, but this Weir counts in {currency}"
        ))
        .with_hint("nothing was booked; convert it, or return it to who paid"));
    }
    let amount = payable(&wanted.amount, &currency)?;
    let command = Command::Deposit {
        id: format!("{ID_PREFIX}{id}"),
        account: account.id,
        fund: Fund::Cash,
        amount,
        reference: reference.clone(),
    };
    match context.money.command(command).await {
        Ok(Reply::Refused(refusal)) | Err(MoneyError::Refused(refusal)) => return Err(refused(&id, refusal)),
        Err(error) => return Err(error.into()),
        Ok(_) => {}
    }
    tracing::info!(topup.id = %id, account.name = %account.name, "a top-up of {amount} {currency} is booked");
    Ok(Topup {
        id,
        account: account.name,
        amount: amount.to_string(),
        currency,
        reference,
    })
}

fn payable(text: &str, currency: &str) -> Result<Nano, ApiError> {
    let hint = "nothing was booked; write it like 10.00";
    let amount: Nano = text
        .parse()
        .map_err(|error: weir_ledger::money::InvalidAmount| ApiError::invalid(error.to_string()).with_hint(hint))?;
    if amount <= Nano::ZERO {
        return Err(ApiError::invalid(format!("a top-up is above zero, not {amount}")).with_hint(hint));
    }
    if !invoices::is_payable(amount, currency) {
        return Err(ApiError::invalid(format!(
            "nobody can pay {amount} {currency}: it is not a whole number of the smallest coin"
        ))
        .with_hint(hint));
    }
    Ok(amount)
}

fn refused(id: &str, refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::IdTaken(_) => ApiError::conflict(
            "id-taken",
            format!("the top-up `{id}` was booked before with another account, amount or reference"),
        )
        .with_hint("nothing was changed; give another payment another id"),
        refusal => refusal.into(),
    }
}

//! Mail by SMTP. Encrypted, except to a server on the machine itself.

use std::time::Duration;

use anyhow::{Context as _, bail};
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::secrets::Secret;

/// Longest wait for all of one mail.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The mail server that notices are handed to.
#[derive(Debug, Clone)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// A mail to one address.
#[derive(Debug)]
pub(super) struct Mail<'a> {
    pub(super) to: &'a str,
    pub(super) subject: &'a str,
    pub(super) text: &'a str,
    /// Makes repetitions of a mail the same mail.
    pub(super) id: String,
}

impl Mailer {
    /// Reads `smtp://USER:PASSWORD@HOST:PORT?from=ADDRESS` (STARTTLS is then insisted upon, except
    /// on this machine) or `smtps://…` (TLS from the start). Nothing is sent yet.
    pub fn open(url: &Secret) -> anyhow::Result<Self> {
        const FORM: &str = "the mail server is given as smtp://USER:PASSWORD@HOST:587?from=weir@example.org";
        // The error must not show the password that is in the URL.
        let url = Url::parse(url.expose()).context(FORM)?;
        let host = url.host_str().filter(|host| !host.is_empty()).context(FORM)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let builder = match url.scheme() {
            "smtps" => AsyncSmtpTransport::<Tokio1Executor>::relay(bare)?,
            "smtp" if loopback => AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(bare),
            "smtp" => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(bare)?,
            _ => bail!(FORM),
        };
        let from = url.query_pairs().find(|(name, _)| name == "from");
        let (_, from) = from.context("the mail server's address does not say from whom mail is: add ?from=ADDRESS")?;
        let from = from.parse().context("`from` is no mail address")?;
        let mut builder = builder.timeout(Some(TIMEOUT));
        if let Some(port) = url.port() {
            builder = builder.port(port);
        }
        if !url.username().is_empty() {
            let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
            let password = plain(url.password().unwrap_or_default());
            builder = builder.credentials(Credentials::new(plain(url.username()), password));
        }
        Ok(Self {
            transport: builder.build(),
            from,
        })
    }

    /// Hands a mail to the server. Fails with words.
    pub(super) async fn send(&self, mail: Mail<'_>) -> Result<(), String> {
        let to = super::check_email(mail.to)?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(mail.subject)
            .message_id(Some(format!("<{}@{}>", mail.id, self.from.email.domain())))
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text.to_owned())
            .map_err(|error| error.to_string())?;
        match tokio::time::timeout(TIMEOUT, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("the mail server did not take it: {error}")),
            Err(_) => Err(format!("the mail server did not answer within {} s", TIMEOUT.as_secs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_mail_server_is_understood_or_explained() {
        let open = |url: &str| Mailer::open(&Secret::new(url.to_owned()));
        for url in [
            "smtp://me:p%40ss@mail.example.org:587?from=weir@example.org",
            "smtps://mail.example.org?from=Weir%20%3Cweir@example.org%3E",
            "smtp://127.0.0.1:2525?from=weir@example.org",
        ] {
            assert!(open(url).is_ok(), "{url}");
        }
        for url in [
            "mail.example.org",
            "http://hunter2@mail.example.org?from=a@b.c",
            "smtp://me:hunter2@mail.example.org",
            "smtp://me:hunter2@mail.example.org?from=nobody",
        ] {
            let error = format!("{:#}", open(url).unwrap_err());
            assert!(error.contains("mail") && !error.contains("hunter2"), "{error}");
        }
    }
}

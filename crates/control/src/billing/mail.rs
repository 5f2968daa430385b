//! Mail by SMTP. Encrypted, except to a server on the machine itself.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use lettre::message::header::ContentType;
use lettre::message::{Attachment, Mailbox, Message, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
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
pub(crate) struct Mail<'a> {
    pub(crate) to: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) text: &'a str,
    /// Makes repetitions of a mail the same mail.
    pub(crate) id: String,
    /// A PDF that goes with it.
    pub(crate) pdf: Option<Pdf>,
}

/// A document that goes with a mail.
#[derive(Debug)]
pub(crate) struct Pdf {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Mailer {
    /// Reads `smtp://USER:PASSWORD@HOST:PORT?from=ADDRESS` (STARTTLS is then insisted upon; to a
    /// server on this machine only with `&tls=required`) or `smtps://…` (TLS from the start).
    /// The server's certificate is checked with the authorities of a bundle in PEM, or where
    /// there is none with those of the machine. Nothing is sent yet.
    pub fn open(url: &Secret, bundle: Option<&Path>) -> anyhow::Result<Self> {
        const FORM: &str = "the mail server is given as smtp://USER:PASSWORD@HOST:587?from=weir@example.org";
        // The error must not show the password that is in the URL.
        let url = Url::parse(url.expose()).context(FORM)?;
        let host = url.host_str().filter(|host| !host.is_empty()).context(FORM)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let asked = |wanted: &str| {
            url.query_pairs()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value)
        };
        let insists = match asked("tls").as_deref() {
            None => !loopback,
            Some("required") => true,
            Some(_) => bail!("the mail server's address has a `tls` that is not `required`"),
        };
        let (port, tls) = match url.scheme() {
            "smtps" => (465, Tls::Wrapper(parameters(bare, bundle)?)),
            "smtp" if insists => (587, Tls::Required(parameters(bare, bundle)?)),
            "smtp" => (25, Tls::None),
            _ => bail!(FORM),
        };
        let from =
            asked("from").context("the mail server's address does not say from whom mail is: add ?from=ADDRESS")?;
        let from = from.parse().context("`from` is no mail address")?;
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(bare)
            .port(url.port().unwrap_or(port))
            .tls(tls)
            .timeout(Some(TIMEOUT));
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
    pub(crate) async fn send(&self, mail: Mail<'_>) -> Result<(), String> {
        let to = super::check_email(mail.to)?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(mail.subject)
            .message_id(Some(format!("<{}@{}>", mail.id, self.from.email.domain())));
        let text = mail.text.to_owned();
        let message = match mail.pdf {
            None => message.header(ContentType::TEXT_PLAIN).body(text),
            Some(pdf) => {
                let kind = ContentType::parse("application/pdf").map_err(|error| error.to_string())?;
                let paper = Attachment::new(pdf.name).body(pdf.bytes, kind);
                message.multipart(MultiPart::mixed().singlepart(SinglePart::plain(text)).singlepart(paper))
            }
        };
        let message = message.map_err(|error| error.to_string())?;
        match tokio::time::timeout(TIMEOUT, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(not_taken(&error)),
            Err(_) => Err(format!("the mail server did not answer within {} s", TIMEOUT.as_secs())),
        }
    }
}

fn parameters(host: &str, bundle: Option<&Path>) -> anyhow::Result<TlsParameters> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = bundle {
        let read = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        builder = builder
            .certificate_store(CertificateStore::None)
            .add_root_certificate(Certificate::from_pem(&read).context("these are no certificate authorities")?);
    }
    builder.build().context("TLS cannot be used with the mail server")
}

fn not_taken(error: &lettre::transport::smtp::Error) -> String {
    if error.is_tls() || error.to_string().contains("certificate") {
        return format!(
            "the mail server's certificate is refused, so nothing was sent: {error}; it has to be for the name in WEIR_SMTP and from an authority that this machine trusts"
        );
    }
    format!("the mail server did not take it: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_mail_server_is_understood_or_explained() {
        let open = |url: &str| Mailer::open(&Secret::new(url.to_owned()), None);
        for url in [
            "smtp://me:p%40ss@mail.example.org:587?from=weir@example.org",
            "smtps://mail.example.org?from=Weir%20%3Cweir@example.org%3E",
            "smtp://127.0.0.1:2525?from=weir@example.org",
            "smtp://localhost:2525?from=weir@example.org&tls=required",
        ] {
            assert!(open(url).is_ok(), "{url}");
        }
        for url in [
            "mail.example.org",
            "http://hunter2@mail.example.org?from=a@b.c",
            "smtp://me:hunter2@mail.example.org",
            "smtp://me:hunter2@mail.example.org?from=nobody",
            "smtp://me:hunter2@mail.example.org?from=a@example.org&tls=perhaps",
        ] {
            let error = format!("{:#}", open(url).unwrap_err());
            assert!(error.contains("mail") && !error.contains("hunter2"), "{error}");
        }
    }
}

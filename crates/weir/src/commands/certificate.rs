use std::path::PathBuf;

use weir_api::{Certificate, CertificateAuthority, SetCertificateAuthority, SetCertificateDns, UploadCertificate};

use super::var::read_file;
use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::output::{Cell, Look, Ui, clock};
use crate::session::Session;

const AUTHORITY: &str = "/v1/certificate-authority";

/// Certificates, and the authority that they are from.
///
/// Host names get theirs by themselves (`weir domain`), once somebody has agreed to the terms of an
/// authority. Certificates of your own can be uploaded.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  weir certificate                               # all that are there\n  weir certificate authority --agree-terms --contact ops@example.org\n  weir certificate authority https://ca.internal/acme/directory --agree-terms --root ca.pem\n  weir certificate dns --server 192.0.2.53 --zone example.org --key-name weir --key-from key.txt\n  weir certificate upload chain.pem key.pem\n  weir certificate remove crt_01k9zm3r4a7c8d2e5f6g7h8j9k"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List certificates; those that end first come first.
    List,
    /// Show the authority, or get certificates from one from now on.
    Authority(Authority),
    /// Make records in a zone by signed updates (RFC 2136), so that Weir's own names get one wildcard.
    Dns(Dns),
    /// Upload a certificate of your own.
    Upload {
        /// The chain in PEM, the host's own certificate first.
        chain: PathBuf,
        /// The private key in PEM, not encrypted.
        key: PathBuf,
    },
    /// Remove a certificate.
    Remove {
        /// Its identity.
        certificate: String,
    },
}

#[derive(Debug, clap::Args)]
struct Authority {
    /// URL of its directory; that of Let's Encrypt if none is given.
    #[arg(requires = "agree_terms")]
    url: Option<String>,
    /// Agree to its terms.
    #[arg(long)]
    agree_terms: bool,
    /// Where it writes to, if something is wrong.
    #[arg(long, value_name = "ADDRESS", requires = "agree_terms")]
    contact: Option<String>,
    /// Who vouches for its site, in PEM; only for an authority of your own.
    #[arg(long, value_name = "FILE", requires = "agree_terms")]
    root: Option<PathBuf>,
    /// An address under which the world reaches this Weir; can be given several times.
    #[arg(long = "address", value_name = "IP", requires = "agree_terms")]
    addresses: Vec<String>,
    /// Look names up at this name server, instead of as this machine does.
    #[arg(long, value_name = "IP[:PORT]", requires = "agree_terms")]
    resolver: Option<String>,
    /// The port that it asks at by HTTP, if not 80; only for an authority of your own.
    #[arg(long, value_name = "PORT", requires = "root")]
    http_port: Option<u16>,
    /// The port that it asks at by TLS, if not 443; only for an authority of your own.
    #[arg(long, value_name = "PORT", requires = "root")]
    tls_port: Option<u16>,
    /// Ask no authority any more.
    #[arg(long, conflicts_with = "agree_terms")]
    off: bool,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["server", "off"]))]
struct Dns {
    /// The name server that takes updates.
    #[arg(long, value_name = "IP[:PORT]", requires_all = ["zone", "key_name", "key_from"])]
    server: Option<String>,
    /// What it is the master of.
    #[arg(long, requires = "server")]
    zone: Option<String>,
    /// Name of the key.
    #[arg(long, value_name = "NAME", requires = "server")]
    key_name: Option<String>,
    /// Read the key, in base64, from this file (`-`: standard input).
    #[arg(long, value_name = "FILE", requires = "server")]
    key_from: Option<PathBuf>,
    /// How updates are signed: hmac-sha256 if nothing else is given.
    #[arg(long, requires = "server", value_parser = ["hmac-sha256", "hmac-sha384", "hmac-sha512"])]
    algorithm: Option<String>,
    /// Seconds until the zone's other servers know a record, too; 30 if none are given.
    #[arg(long, value_name = "SECONDS", requires = "server")]
    wait_s: Option<u32>,
    /// Make no records any more.
    #[arg(long)]
    off: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let (client, ui) = (session.client()?, &session.ui);
    match args.verb {
        None | Some(Verb::List) => list(&client, ui).await,
        Some(Verb::Authority(args)) => authority(&client, ui, args).await,
        Some(Verb::Dns(args)) => dns(&client, ui, args).await,
        Some(Verb::Upload { chain, key }) => {
            let wanted = UploadCertificate {
                chain: read_file(&chain)?,
                key: read_file(&key)?,
            };
            let told: Certificate = client.post("/v1/certificates", &wanted).await?;
            ui.result(&told, || {
                ui.note(&format!(
                    "it is for {}, until {}",
                    told.names.join(", "),
                    clock(&told.ends)
                ));
                match told.serves.as_slice() {
                    [] => ui.note("no host name was added that it serves: weir domain add NAME"),
                    hosts => ui.note(&format!("it serves {}", hosts.join(", "))),
                }
                ui.data(&told.id)
            })
        }
        Some(Verb::Remove { certificate }) => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if certificate.is_empty() || !certificate.bytes().all(plain) {
                let failure = Failure::usage(format!("`{certificate}` is no identity of a certificate"));
                return Err(failure.hint("list them with: weir certificate"));
            }
            client
                .delete_quietly(&format!("/v1/certificates/{certificate}"))
                .await?;
            ui.result(&serde_json::json!({ "removed": certificate }), || {
                ui.note("host names that need one get another from the authority");
                Ok(())
            })
        }
    }
}

async fn list(client: &Client, ui: &Ui) -> Result<()> {
    let certificates: Vec<Certificate> = client.get("/v1/certificates").await?;
    ui.result(&certificates, || {
        let rows: Vec<Vec<Cell>> = certificates.iter().map(row).collect();
        ui.table(&["CERTIFICATE", "ORIGIN", "ENDS", "NAMES"], &rows, "there are none")
    })
}

fn row(certificate: &Certificate) -> Vec<Cell> {
    let ends = clock(&certificate.ends);
    let ends = if certificate.ended {
        Cell::looking(Look::Bad, ends.as_str())
    } else {
        ends.into()
    };
    let names = match certificate.names.as_slice() {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        names => names.join(", "),
    };
    vec![
        certificate.id.as_str().into(),
        certificate.origin.as_str().into(),
        ends,
        names.into(),
    ]
}

async fn authority(client: &Client, ui: &Ui, args: Authority) -> Result<()> {
    if args.off {
        client.delete_quietly(AUTHORITY).await?;
        return ui.result(&serde_json::json!({ "authority": null }), || {
            ui.note("no authority is asked any more; certificates that are there go on until they end");
            Ok(())
        });
    }
    let told: CertificateAuthority = if args.agree_terms {
        let wanted = SetCertificateAuthority {
            agree_terms: true,
            directory: args.url,
            contact: args.contact,
            root: args.root.as_deref().map(read_file).transpose()?,
            addresses: args.addresses,
            resolver: args.resolver,
            http_port: args.http_port,
            tls_port: args.tls_port,
        };
        client.put(AUTHORITY, &wanted).await?
    } else {
        client.get(AUTHORITY).await?
    };
    ui.result(&told, || show(ui, &told))
}

async fn dns(client: &Client, ui: &Ui, args: Dns) -> Result<()> {
    const DNS: &str = "/v1/certificate-dns";
    let (Some(server), Some(zone), Some(key_name), Some(key_from)) =
        (args.server, args.zone, args.key_name, args.key_from)
    else {
        client.delete_quietly(DNS).await?;
        return ui.result(&serde_json::json!({ "zone": null }), || {
            ui.note("no records are made any more");
            Ok(())
        });
    };
    let wanted = SetCertificateDns {
        server,
        zone,
        key_name,
        key: read_file(&key_from)?.trim().to_owned(),
        algorithm: args.algorithm,
        wait_s: args.wait_s,
    };
    let told: CertificateAuthority = client.put(DNS, &wanted).await?;
    ui.result(&told, || show(ui, &told))
}

fn show(ui: &Ui, told: &CertificateAuthority) -> Result<()> {
    let Some(directory) = &told.directory else {
        ui.data("authority: none")?;
        ui.note("hint: weir certificate authority --agree-terms --contact ADDRESS");
        return show_records(ui, told);
    };
    ui.data(&format!("authority: {}", ui.out(Look::Bold, directory)))?;
    for (name, text) in [
        ("contact", &told.contact),
        ("terms agreed to", &told.agreed),
        ("names are looked up at", &told.resolver),
    ] {
        if let Some(text) = text {
            ui.data(&format!("{name}: {text}"))?;
        }
    }
    if !told.addresses.is_empty() {
        ui.data(&format!("addresses of this Weir: {}", told.addresses.join(", ")))?;
    }
    show_records(ui, told)
}

fn show_records(ui: &Ui, told: &CertificateAuthority) -> Result<()> {
    match (&told.zone, told.records.as_str()) {
        (Some(zone), _) => ui.data(&format!("records are made in: {zone}")),
        (None, "hook") => ui.data("records are made by: the program of --dns-hook"),
        _ => ui.data("records: none are made, so each name of Weir's own gets a certificate of its own"),
    }
}

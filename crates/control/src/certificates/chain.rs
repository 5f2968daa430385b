//! Reads certificates: those that people bring are checked whole, before a browser has to.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use weir_model::UnixMillis;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// Most certificates in a chain, and names in the first.
const LONGEST: usize = 10;
const NAMES: usize = 1_000;

/// What a chain says of its host's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Lower case, sorted.
    pub(super) names: Vec<String>,
    pub(super) not_before_ms: UnixMillis,
    pub(super) not_after_ms: UnixMillis,
}

/// Reads a chain and its key, and fails with words where they do not fit: the order of the chain,
/// the key, the names, the dates.
pub(super) fn check(chain_pem: &str, key_pem: &str, now_ms: UnixMillis) -> Result<Leaf, String> {
    let chain = certificates(chain_pem)?;
    let parsed = chain.iter().enumerate().map(|(at, der)| parse(at, der));
    let parsed: Vec<X509Certificate<'_>> = parsed.collect::<Result<_, _>>()?;
    for (at, pair) in parsed.windows(2).enumerate() {
        let (below, above) = (&pair[0], &pair[1]);
        if below.issuer() != above.subject() || below.verify_signature(Some(above.public_key())).is_err() {
            return Err(format!(
                "the chain is not in order: its certificate {} (`{}`) is not issued by certificate {} (`{}`)",
                at + 1,
                below.subject(),
                at + 2,
                above.subject()
            ));
        }
    }
    let Some(first) = parsed.first() else {
        return Err("there is no certificate in the chain".to_owned());
    };
    if first.is_ca() {
        return Err(format!(
            "the first certificate of the chain (`{}`) is an authority's; the host's own comes first",
            first.subject()
        ));
    }
    let leaf = leaf_of(first)?;
    for (at, certificate) in parsed.iter().enumerate() {
        let ends_ms = certificate.validity().not_after.timestamp().saturating_mul(1_000);
        if ends_ms <= now_ms {
            return Err(format!("certificate {} of the chain has ended", at + 1));
        }
    }
    let key = key(key_pem)?;
    let provider = Arc::new(ring::default_provider());
    match CertifiedKey::from_der(chain.clone(), key, &provider) {
        Ok(_) => Ok(leaf),
        Err(error) => Err(format!("the key does not fit the certificate: {error}")),
    }
}

/// What the first certificate of a chain says.
pub(super) fn leaf(chain_pem: &str) -> Result<Leaf, String> {
    let chain = certificates(chain_pem)?;
    let first = chain.first().ok_or("there is no certificate in the chain")?;
    leaf_of(&parse(0, first)?)
}

/// The first certificate of a chain.
pub(super) fn first_of(chain_pem: &str) -> Option<CertificateDer<'static>> {
    certificates(chain_pem).ok()?.into_iter().next()
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("the chain is not in PEM: {error}"))?;
    match chain.len() {
        0 => Err("there is no certificate in the chain; it is to be in PEM".to_owned()),
        1..=LONGEST => Ok(chain),
        more => Err(format!("the chain has {more} certificates; {LONGEST} are the most")),
    }
}

fn parse<'a>(at: usize, der: &'a CertificateDer<'static>) -> Result<X509Certificate<'a>, String> {
    let parsed = X509Certificate::from_der(der);
    parsed
        .map(|(_, certificate)| certificate)
        .map_err(|error| format!("certificate {} of the chain cannot be read: {error}", at + 1))
}

fn key(pem: &str) -> Result<PrivateKeyDer<'static>, String> {
    if pem.contains("ENCRYPTED") {
        return Err("the key is encrypted; decrypt it first: openssl pkey -in KEY -out PLAIN".to_owned());
    }
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| format!("that is no private key in PEM: {error}"))
}

fn leaf_of(certificate: &X509Certificate<'_>) -> Result<Leaf, String> {
    let alternative = certificate.subject_alternative_name();
    let alternative = alternative.map_err(|error| format!("its names cannot be read: {error}"))?;
    let listed = alternative.iter().flat_map(|names| &names.value.general_names);
    let mut names: Vec<String> = listed
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    names.sort();
    names.dedup();
    if names.is_empty() || names.len() > NAMES {
        return Err(format!(
            "it is for {} host names; browsers want 1 at least",
            names.len()
        ));
    }
    let validity = certificate.validity();
    Ok(Leaf {
        names,
        not_before_ms: validity.not_before.timestamp().saturating_mul(1_000),
        not_after_ms: validity.not_after.timestamp().saturating_mul(1_000),
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;

    struct Made {
        root: String,
        middle: String,
        leaf: String,
        key: String,
    }

    fn made(from_year: i32, to_year: i32) -> Made {
        let authority = |name: &str| {
            let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params
        };
        let (root_key, middle_key, key) = (
            KeyPair::generate().unwrap(),
            KeyPair::generate().unwrap(),
            KeyPair::generate().unwrap(),
        );
        let root = authority("Root");
        let root_pem = root.self_signed(&root_key).unwrap().pem();
        let root = Issuer::new(root, root_key);
        let middle = authority("Middle");
        let middle_pem = middle.signed_by(&middle_key, &root).unwrap().pem();
        let middle = Issuer::new(middle, middle_key);
        let mut params =
            CertificateParams::new(vec!["Shop.example.org".to_owned(), "*.example.org".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from_year, 1, 1);
        params.not_after = rcgen::date_time_ymd(to_year, 1, 1);
        Made {
            root: root_pem,
            middle: middle_pem,
            leaf: params.signed_by(&key, &middle).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    const NOW: UnixMillis = 1_700_000_000_000;

    #[test]
    fn a_chain_that_fits_is_read() {
        let made = made(2023, 2033);
        let leaf = check(&format!("{}{}{}", made.leaf, made.middle, made.root), &made.key, NOW).unwrap();
        assert_eq!(leaf.names, ["*.example.org", "shop.example.org"]);
        assert_eq!(leaf.not_after_ms, 1_988_150_400_000);
        assert!(check(&made.leaf, &made.key, NOW).is_ok(), "alone it is a chain, too");
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let (made, other, old) = (made(2023, 2033), made(2023, 2033), made(2020, 2021));
        let chain = |parts: [&str; 2]| parts.concat();
        for (chain, key, words) in [
            (
                chain([&made.leaf, &made.root]),
                &made.key,
                "not in order: its certificate 1",
            ),
            (chain([&made.middle, &made.leaf]), &made.key, "not in order"),
            (chain([&made.leaf, &other.middle]), &made.key, "not in order"),
            (
                chain([&made.middle, &made.root]),
                &made.key,
                "the host's own comes first",
            ),
            (made.leaf.clone(), &other.key, "the key does not fit"),
            (old.leaf.clone(), &old.key, "has ended"),
            (made.leaf.clone(), &made.leaf, "no private key"),
            ("nothing".to_owned(), &made.key, "no certificate"),
            (made.key.clone(), &made.key, "no certificate"),
        ] {
            let told = check(&chain, key, NOW).unwrap_err();
            assert!(told.contains(words), "{told}");
        }
    }
}

//! The certificates of one set, by the names that they are for.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{self, ServerConfig};
use weir_model::certificate::{Certificate, CertificateSet, Challenge};

/// The protocol by which an authority asks in the handshake itself (RFC 8737).
pub(super) const ACME_PROTOCOL: &[u8] = b"acme-tls/1";

/// All certificates and open questions of one set. Immutable.
#[derive(Default)]
pub(super) struct Certificates {
    exact: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// By what follows the first label.
    wildcards: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// For clients that name no host.
    unnamed: Option<Arc<CertifiedKey>>,
    /// By host.
    questions: HashMap<Box<str>, Vec<Question>>,
    /// What was parsed, by a hash of the text, so that the next set does not parse it again.
    parsed: HashMap<[u8; 32], Arc<CertifiedKey>>,
}

/// An open question of an authority.
#[derive(Debug)]
struct Question {
    challenge: Challenge,
    /// What answers it in a handshake; made when it is asked for.
    config: OnceLock<Option<Arc<ServerConfig>>>,
}

/// Why a certificate of a set is left out.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("it is not PEM")]
    Pem(#[from] rustls::pki_types::pem::Error),
    #[error("there is no certificate in it")]
    Empty,
    #[error("{0}")]
    Key(#[from] rustls::Error),
}

impl Certificates {
    /// Compiles a set. What the one before has parsed is taken from there.
    pub(super) fn compile(set: &CertificateSet, before: &Self) -> Self {
        let mut compiled = Self::default();
        for certificate in &set.certificates {
            if let Err(error) = compiled.add(certificate, before) {
                let names = certificate.names.join(", ");
                tracing::warn!(
                    names,
                    error = %error,
                    "cannot use a certificate; its names are served by another one, or not with TLS"
                );
            }
        }
        let unnamed = set.default_host.as_deref();
        compiled.unnamed = unnamed.and_then(|host| compiled.of(Some(host))).cloned();
        for challenge in &set.challenges {
            let question = Question {
                challenge: challenge.clone(),
                config: OnceLock::new(),
            };
            let host = compiled.questions.entry(challenge.host.as_str().into());
            host.or_default().push(question);
        }
        compiled
    }

    fn add(&mut self, certificate: &Certificate, before: &Self) -> Result<(), Unusable> {
        let hash = hash_of(certificate);
        let key = match self.parsed.get(&hash).or_else(|| before.parsed.get(&hash)) {
            Some(key) => Arc::clone(key),
            None => Arc::new(parse(certificate)?),
        };
        for name in &certificate.names {
            match name.strip_prefix("*.") {
                Some(parent) => self.wildcards.insert(parent.into(), Arc::clone(&key)),
                None => self.exact.insert(name.as_str().into(), Arc::clone(&key)),
            };
        }
        self.parsed.insert(hash, key);
        Ok(())
    }

    /// What a client gets that names this host, in lower case, or none.
    pub(super) fn of(&self, host: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let Some(host) = host else {
            return self.unnamed.as_ref();
        };
        self.exact.get(host).or_else(|| {
            let (_, parent) = host.split_once('.')?;
            self.wildcards.get(parent)
        })
    }

    /// How many names have a certificate.
    pub(super) fn names(&self) -> usize {
        self.exact.len() + self.wildcards.len()
    }

    /// What an authority wants to read under the token.
    pub(super) fn http_answer(&self, host: &str, token: &str) -> Option<&str> {
        let everywhere = self.questions.get("");
        let mut questions = self.questions.get(host).into_iter().chain(everywhere).flatten();
        let question = questions.find(|question| question.challenge.token == token)?;
        Some(&question.challenge.key_authorization)
    }

    /// How a handshake is made that answers an authority's question about the host.
    pub(super) fn handshake_answer(&self, host: &str) -> Option<Arc<ServerConfig>> {
        let question = self.questions.get(host)?.last()?;
        let config = question.config.get_or_init(|| {
            answering(&question.challenge)
                .inspect_err(
                    |error| tracing::warn!(host, %error, "cannot make the certificate that answers an authority"),
                )
                .ok()
        });
        config.clone()
    }
}

impl fmt::Debug for Certificates {
    /// Without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("names", &self.names())
            .field("questions", &self.questions.len())
            .finish_non_exhaustive()
    }
}

fn hash_of(certificate: &Certificate) -> [u8; 32] {
    let mut hash = Sha256::new();
    // The length keeps the two texts apart.
    hash.update(certificate.chain_pem.len().to_be_bytes());
    hash.update(&certificate.chain_pem);
    hash.update(&certificate.key_pem);
    hash.finalize().into()
}

/// Fails, too, where the key is not that of the certificate.
fn parse(certificate: &Certificate) -> Result<CertifiedKey, Unusable> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes()).collect::<Result<_, _>>()?;
    if chain.is_empty() {
        return Err(Unusable::Empty);
    }
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes())?;
    Ok(CertifiedKey::from_der(chain, key, &super::provider())?)
}

/// Why there is no certificate for an authority's question.
#[derive(Debug, thiserror::Error)]
enum Unanswerable {
    #[error("{0}")]
    Certificate(#[from] rcgen::Error),
    #[error("{0}")]
    Tls(#[from] rustls::Error),
}

/// Shows, in a certificate that nobody else would believe, the hash of what the authority wants to
/// see (RFC 8737, section 3).
fn answering(challenge: &Challenge) -> Result<Arc<ServerConfig>, Unanswerable> {
    let mut params = CertificateParams::new(vec![challenge.host.clone()])?;
    let digest = Sha256::digest(&challenge.key_authorization);
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let provider = super::provider();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let key = provider.key_provider.load_private_key(key.into())?;
    // Past the check that key and certificate belong together, which does not know the extension.
    let shown = CertifiedKey::new(vec![certificate.der().clone()], key);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![ACME_PROTOCOL.to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn certificate(names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(names.clone())
            .unwrap()
            .self_signed(&key)
            .unwrap();
        Certificate {
            names,
            chain_pem: made.pem(),
            key_pem: key.serialize_pem(),
            not_after_ms: 0,
        }
    }

    fn compile(certificates: Vec<Certificate>) -> Certificates {
        let set = CertificateSet {
            version: 1,
            certificates,
            default_host: Some("weir.example.org".to_owned()),
            ..CertificateSet::default()
        };
        Certificates::compile(&set, &Certificates::default())
    }

    #[test]
    fn the_exact_name_comes_before_the_wildcard_which_covers_one_label() {
        let (wild, exact) = (certificate(&["*.example.org"]), certificate(&["shop.example.org"]));
        let table = compile(vec![exact.clone(), wild.clone()]);
        let shown = |host: Option<&str>| table.of(host).map(|key| key.cert[0].to_vec());
        let der = |certificate: &Certificate| {
            Some(
                CertificateDer::from_pem_slice(certificate.chain_pem.as_bytes())
                    .unwrap()
                    .to_vec(),
            )
        };
        assert_eq!(shown(Some("shop.example.org")), der(&exact));
        assert_eq!(shown(Some("other.example.org")), der(&wild));
        assert_eq!(shown(None), der(&wild));
        for host in ["example.org", "a.b.example.org", "a.shop.example.org", "org", "", "."] {
            assert_eq!(shown(Some(host)), None, "{host}");
        }
        assert!(compile(vec![exact]).of(None).is_none());
    }

    #[test]
    fn a_certificate_with_the_wrong_key_is_left_out_and_the_others_serve() {
        let (good, mut bad) = (certificate(&["shop.example.org"]), certificate(&["shop.example.org"]));
        bad.key_pem.clone_from(&good.key_pem);
        let mut garbled = certificate(&["other.example.org"]);
        garbled.chain_pem = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n".to_owned();
        let table = compile(vec![good.clone(), bad, garbled]);
        let shown = table.of(Some("shop.example.org")).unwrap();
        let expected = CertificateDer::from_pem_slice(good.chain_pem.as_bytes()).unwrap();
        assert_eq!(shown.cert, [expected]);
        assert!(table.of(Some("other.example.org")).is_none());
    }

    #[test]
    fn hundred_thousand_names_compile_quickly_and_share_what_was_parsed() {
        let shared = (0..100).map(|number| {
            let names: Vec<String> = (0..1_000)
                .map(|name| format!("shop-{name}.of-{number}.example.org"))
                .collect();
            Certificate {
                names,
                ..certificate(&["shop.example.org"])
            }
        });
        let mut set = CertificateSet {
            certificates: shared.collect(),
            ..CertificateSet::default()
        };
        let first = Certificates::compile(&set, &Certificates::default());
        assert_eq!(first.names(), 100_000);
        set.certificates.pop();
        set.version = 2;
        let start = Instant::now();
        let second = Certificates::compile(&set, &first);
        println!("100,000 names compiled in {:?}", start.elapsed());
        let name = Some("shop-7.of-7.example.org");
        assert!(Arc::ptr_eq(first.of(name).unwrap(), second.of(name).unwrap()));
        assert_eq!((second.names(), second.parsed.len()), (99_000, 99));
        assert!(start.elapsed().as_secs() < 10);
    }
}

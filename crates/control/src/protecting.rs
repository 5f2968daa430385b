//! What stands before an environment's hosts, as nodes get it: out of the release, the secrets, and
//! what was set on the environment.
//!
//! Passwords never leave control. What nodes get are hashes; a password that stands in a secret as
//! it is gets one here, the same each time, so that routes do not change with every look.
//!
//! How it fails: closed. A rule whose secret is missing or cannot be read lets nobody pass by
//! password.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use weir_model::project::Variable;
use weir_model::protection::{AccessRule, Layer, MOST_USERS, Protection, ProtectionSpec, User};
use weir_model::spec::AppSpec;
use weir_model::{AppName, EnvironmentId, VariableName};
use weir_store::StoreError;

use crate::context::Context;
use crate::secrets::{Sealer, hex, random_bytes};

/// What a hash may cost who checks it: KiB of memory, and rounds.
const MOST_KIB: u32 = 64 << 10;
const MOST_ROUNDS: u32 = 10;
const MOST_BCRYPT_COST: u32 = 13;
/// Of our own: OWASP's least for argon2id.
const OWN_KIB: u32 = 19 << 10;
const OWN_ROUNDS: u32 = 2;
/// Longest name, and longest password, in bytes.
const NAME_BYTES: usize = 100;
pub(crate) const PASSWORD_BYTES: usize = 512;
/// Hashes that are remembered in all.
const MOST_KNOWN: usize = 10_000;

/// Hashes that were made.
#[derive(Debug, Clone, Default)]
pub struct Hashes(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    number: usize,
    /// By fingerprint of what they are of.
    environments: HashMap<EnvironmentId, HashMap<String, String>>,
}

impl Known {
    /// Where there is no room, the environment that has most loses one, whichever: so nobody who has
    /// few has to wait for them again.
    fn insert(&mut self, environment: EnvironmentId, fingerprint: String, hash: String) {
        let hashes = self.environments.entry(environment).or_default();
        if hashes.contains_key(&fingerprint) {
            return;
        }
        if self.number < MOST_KNOWN {
            self.number += 1;
        } else if let Some(fullest) = self.environments.values_mut().max_by_key(|hashes| hashes.len())
            && let Some(one) = fullest.keys().next().cloned()
        {
            fullest.remove(&one);
        }
        self.environments
            .entry(environment)
            .or_default()
            .insert(fingerprint, hash);
        self.environments.retain(|_, hashes| !hashes.is_empty());
    }
}

impl Hashes {
    /// The hash of a password, the same for the same password at the same place. Takes a while the
    /// first time.
    fn of(
        &self,
        sealer: &Sealer,
        environment: EnvironmentId,
        variable: &VariableName,
        name: &str,
        password: &str,
    ) -> Result<String, String> {
        let place = format!("{environment} {variable}");
        let fingerprint = sealer.fingerprint(&[b"password", place.as_bytes(), name.as_bytes(), password.as_bytes()]);
        let known = {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let hashes = known.environments.get(&environment);
            hashes.and_then(|hashes| hashes.get(&fingerprint).cloned())
        };
        if let Some(hash) = known {
            return Ok(hash);
        }
        // Nobody without the key of this Weir can tell the salt, and it is another for each password.
        let salt = sealer.fingerprint(&[b"salt", fingerprint.as_bytes()]);
        let hash = hash_with(password, &salt.as_bytes()[..32])?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(environment, fingerprint, hash.clone());
        Ok(hash)
    }
}

fn hash_with(password: &str, salt: &[u8]) -> Result<String, String> {
    let params = Params::new(OWN_KIB, OWN_ROUNDS, 1, None).map_err(|error| error.to_string())?;
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = hasher.hash_password_with_salt(password.as_bytes(), salt);
    hash.map(|hash| hash.to_string()).map_err(|error| error.to_string())
}

/// The hash of a password that is kept, with a salt of its own.
pub(crate) fn fresh_hash(password: &str) -> Result<String, String> {
    hash_with(password, hex(&random_bytes::<16>()).as_bytes())
}

/// Why somebody cannot have this name.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_BYTES || name.contains(':') || name.chars().any(char::is_control) {
        return Err(format!("a name has 1 to {NAME_BYTES} characters and no colon"));
    }
    Ok(())
}

/// The users of a secret: one in each line, `name:password` or `name:hash`.
///
/// # Errors
/// What is wrong, with the number of the line and without any of its contents.
fn users(text: &str, mut hashed: impl FnMut(&str, &str) -> Result<String, String>) -> Result<Vec<User>, String> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let mut users: Vec<User> = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let at = |problem: String| format!("line {number}: {problem}");
        let (name, rest) = line
            .split_once(':')
            .ok_or_else(|| at("there is no colon; write user:password".to_owned()))?;
        check_name(name).map_err(at)?;
        let hash = match rest {
            "" => return Err(at("there is no password after the colon".to_owned())),
            hash if hash.starts_with('$') || hash.starts_with("{SHA}") => {
                check_hash(hash).map_err(at)?;
                hash.to_owned()
            }
            password if password.len() > PASSWORD_BYTES => {
                return Err(at(format!("a password has at most {PASSWORD_BYTES} bytes")));
            }
            password => hashed(name, password).map_err(at)?,
        };
        if users.iter().any(|user| user.name == name) {
            return Err(at("the name stands there already".to_owned()));
        }
        users.push(User {
            name: name.to_owned(),
            hash,
        });
    }
    match users.len() {
        0 => Err("there is nobody in it; write one line for each: user:password".to_owned()),
        1..=MOST_USERS => Ok(users),
        _ => Err(format!("there are more than {MOST_USERS} users in it")),
    }
}

/// Whether nodes can check a hash, at a cost that is bearable.
fn check_hash(hash: &str) -> Result<(), String> {
    let fields: Vec<&str> = hash.split('$').collect();
    match fields.as_slice() {
        ["", "argon2id", "v=19", parameters, salt, sum] if !salt.is_empty() && !sum.is_empty() => {
            let value = |wanted: &str| {
                let pair = |pair: &str| pair.split_once('=').filter(|(name, _)| *name == wanted)?.1.parse().ok();
                parameters.split(',').find_map(pair)
            };
            match (value("m"), value("t"), value("p")) {
                (Some(8..=MOST_KIB), Some(1..=MOST_ROUNDS), Some(1..=4)) => Ok(()),
                _ => Err(format!(
                    "this hash is too costly to check; at most m={MOST_KIB},t={MOST_ROUNDS},p=4"
                )),
            }
        }
        ["", "2a" | "2b" | "2y", cost, rest] if rest.len() == 53 => match cost.parse() {
            Ok(4..=MOST_BCRYPT_COST) => Ok(()),
            _ => Err(format!(
                "this hash is too costly to check; at most a cost of {MOST_BCRYPT_COST}"
            )),
        },
        _ => Err(
            "this kind of hash is not understood, only argon2id and bcrypt (`htpasswd -B`) are; \
             a password that begins with $ cannot be used"
                .to_owned(),
        ),
    }
}

/// The users that a secret names.
fn users_of(
    sealer: &Sealer,
    hashes: &Hashes,
    environment: EnvironmentId,
    variables: &[Variable],
    name: &VariableName,
) -> Result<Vec<User>, String> {
    let set = format!("weir set {name}=user:password --secret");
    let variable = variables.iter().find(|variable| variable.name == *name);
    let variable = variable.ok_or_else(|| format!("the secret {name} is not set; next: {set}"))?;
    if !variable.secret {
        return Err(format!(
            "{name} is not a secret, so that everybody who may look sees it; next: {set}"
        ));
    }
    let value = sealer
        .value_of(environment, variable)
        .map_err(|error| error.to_string())?;
    users(value.expose(), |user, password| {
        hashes.of(sealer, environment, name, user, password)
    })
    .map_err(|problem| format!("the secret {name}: {problem}"))
}

/// What is wrong with the passwords that these apps ask for, in words.
pub(crate) async fn problems<'a>(
    context: &Context,
    environment: EnvironmentId,
    variables: &[Variable],
    apps: impl IntoIterator<Item = &'a AppSpec>,
) -> Vec<String> {
    let asked: Vec<(String, VariableName)> = apps.into_iter().flat_map(asked).collect();
    if asked.is_empty() {
        return Vec::new();
    }
    let (sealer, hashes, variables) = (context.sealer.clone(), context.hashes.clone(), variables.to_vec());
    let check = move || {
        let wrong = |(path, name): (String, VariableName)| {
            let problem = users_of(&sealer, &hashes, environment, &variables, &name).err()?;
            Some(format!("the route {path} asks for a password: {problem}"))
        };
        asked.into_iter().filter_map(wrong).collect()
    };
    tokio::task::spawn_blocking(check).await.unwrap_or_default()
}

fn asked(spec: &AppSpec) -> impl Iterator<Item = (String, VariableName)> {
    let of =
        |route: &weir_model::spec::RouteSpec| Some((route.path_prefix.clone(), route.protection.password.clone()?));
    spec.routes.iter().filter_map(of)
}

/// What stands before the hosts of an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Protections {
    /// Of all hosts.
    common: Protection,
    /// Of those of each app.
    apps: BTreeMap<AppName, Vec<Layer>>,
}

impl Protections {
    /// Of a host that leads to this app; none where everything is let through.
    pub(crate) fn of(&self, app: Option<&AppName>) -> Option<Protection> {
        let mut protection = self.common.clone();
        let own = app.and_then(|app| self.apps.get(app));
        protection.layers.extend(own.into_iter().flatten().cloned());
        (protection != Protection::default()).then_some(protection)
    }
}

/// What stands before the hosts of an environment now.
pub(crate) async fn in_force<'a>(
    context: &Context,
    environment: EnvironmentId,
    apps: impl IntoIterator<Item = (&'a AppName, &'a AppSpec)>,
) -> Result<Protections, StoreError> {
    let store = &context.store;
    let users = store.access_user_list(environment).await?;
    let mut common = Protection {
        layers: Vec::new(),
        maintenance: store.maintenance_of(environment).await?,
    };
    if !users.is_empty() {
        common.layers.push(Layer {
            name: "environment".to_owned(),
            path_prefix: "/".to_owned(),
            access: Some(AccessRule {
                users: Some(users.into_iter().map(|user| user.user).collect()),
                ..AccessRule::default()
            }),
            ..Layer::default()
        });
    }
    let apps: Vec<(AppName, AppSpec)> = apps
        .into_iter()
        .map(|(name, spec)| (name.clone(), spec.clone()))
        .collect();
    let asks = apps.iter().any(|(_, spec)| asked(spec).next().is_some());
    let variables = if asks {
        store.variable_list(environment).await?
    } else {
        Vec::new()
    };
    let (sealer, hashes) = (context.sealer.clone(), context.hashes.clone());
    let layers = move || {
        let users = |name: &VariableName| {
            users_of(&sealer, &hashes, environment, &variables, name).unwrap_or_else(|problem| {
                tracing::info!(environment.id = %environment, "a route lets nobody pass by password: {problem}");
                Vec::new()
            })
        };
        let mut all: BTreeMap<AppName, Vec<Layer>> = BTreeMap::new();
        for (name, spec) in apps {
            let layers = layers_of(&name, &spec, users);
            let known = all.entry(name).or_default();
            // Two releases of an app mostly say the same.
            let new = layers.into_iter().filter(|layer| !known.contains(layer));
            known.extend(new.collect::<Vec<_>>());
        }
        all
    };
    let apps = match asks {
        // Hashing takes a while.
        true => tokio::task::spawn_blocking(layers)
            .await
            .map_err(|error| StoreError::Internal(format!("hashing passwords ended badly: {error}")))?,
        false => layers(),
    };
    Ok(Protections { common, apps })
}

/// What an app says itself.
fn layers_of(name: &AppName, spec: &AppSpec, users: impl Fn(&VariableName) -> Vec<User>) -> Vec<Layer> {
    let layer = |path: &str, methods: &[String], protection: &ProtectionSpec| Layer {
        name: match methods {
            [] => format!("{name}{path}"),
            methods => format!("{name}{path} {}", methods.join(",")),
        },
        path_prefix: path.to_owned(),
        methods: methods.to_vec(),
        max_body_bytes: protection.max_body_bytes,
        rate: protection.rate,
        access: protection.asks().then(|| AccessRule {
            users: protection.password.as_ref().map(&users),
            allow: protection.allow.clone(),
            deny: protection.deny.clone(),
            satisfy: protection.satisfy,
        }),
    };
    let app = (spec.protection != ProtectionSpec::default()).then(|| layer("/", &[], &spec.protection));
    let routes = spec
        .routes
        .iter()
        .filter(|route| route.protection != ProtectionSpec::default());
    let routes = routes.map(|route| layer(&route.path_prefix, &route.methods, &route.protection));
    // The app's own first: of the same path, the route's limit of the body is the later one.
    let mut layers: Vec<Layer> = app.into_iter().chain(routes).collect();
    if let Some(first) = layers
        .first_mut()
        .filter(|_| spec.protection != ProtectionSpec::default())
    {
        first.name = format!("{name} app");
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Result<Vec<(String, String)>, String> {
        let users = users(text, |name, password| Ok(format!("hash of {name} {password}")))?;
        Ok(users.into_iter().map(|user| (user.name, user.hash)).collect())
    }

    #[test]
    fn secrets_hold_passwords_or_hashes() {
        let bcrypt = format!("$2y$10${}", "a".repeat(53));
        let argon = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g";
        let text = format!("# who may pass\nanna:ge:heim\n\n ben:{bcrypt} \r\ncarl:{argon}\n");
        let users = plain(&text).unwrap();
        let pair = |name: &str, hash: &str| (name.to_owned(), hash.to_owned());
        assert_eq!(
            users,
            [
                pair("anna", "hash of anna ge:heim"),
                pair("ben", &bcrypt),
                pair("carl", argon)
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_told_without_showing_it() {
        let told = |text: &str, words: &str| {
            let problem = plain(text).unwrap_err();
            assert!(problem.contains(words), "{problem}");
            assert!(!problem.contains("geheim"), "{problem}");
        };
        told("geheim", "line 1: there is no colon");
        told("anna:x\nben:", "line 2: there is no password");
        told(":geheim", "a name has 1 to 100 characters");
        told("anna:geheim\nanna:geheim", "line 2: the name stands there already");
        told("", "there is nobody in it");
        told("anna:$apr1$geheim$geheim", "`htpasswd -B`");
        told("anna:{SHA}geheim", "`htpasswd -B`");
        told("anna:$argon2id$v=19$m=4194304,t=2,p=1$geheim$geheim", "too costly");
        told(&format!("anna:$2y$31${}", "a".repeat(53)), "too costly");
    }

    #[test]
    fn a_password_in_a_secret_has_the_same_hash_each_time_and_another_elsewhere() {
        let (sealer, hashes) = (Sealer::from_key([7; 32]), Hashes::default());
        let (here, there) = (EnvironmentId::from_parts(1, 1), EnvironmentId::from_parts(1, 2));
        let (secret, another) = (
            VariableName::new("SECRET").unwrap(),
            VariableName::new("ANOTHER").unwrap(),
        );
        let first = hashes.of(&sealer, here, &secret, "anna", "geheim").unwrap();
        assert!(
            first.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && check_hash(&first).is_ok(),
            "{first}"
        );
        let again = Hashes::default().of(&sealer, here, &secret, "anna", "geheim");
        assert_eq!(again.unwrap(), first);
        for (environment, secret, name) in [
            (there, &secret, "anna"),
            (here, &another, "anna"),
            (here, &secret, "ben"),
        ] {
            let other = hashes.of(&sealer, environment, secret, name, "geheim").unwrap();
            assert_ne!(other, first);
        }
        let fresh = fresh_hash("geheim").unwrap();
        assert!(check_hash(&fresh).is_ok() && fresh != fresh_hash("geheim").unwrap());
    }

    #[test]
    fn one_with_many_passwords_pushes_out_only_its_own() {
        let mut known = Known::default();
        let (few, many) = (EnvironmentId::from_parts(1, 1), EnvironmentId::from_parts(1, 2));
        for number in 0..100 {
            known.insert(few, number.to_string(), String::new());
        }
        for number in 0..2 * MOST_KNOWN {
            known.insert(many, number.to_string(), String::new());
        }
        let of = |environment| known.environments[&environment].len();
        assert_eq!((of(few), of(many), known.number), (100, MOST_KNOWN - 100, MOST_KNOWN));
        let newest = (2 * MOST_KNOWN - 1).to_string();
        assert!(known.environments[&many].contains_key(&newest));
    }
}

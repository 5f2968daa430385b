//! Cookies by which Weir knows browsers. They are between a browser and Weir: since browsers do not tell
//! ports of a host apart, and its names are not always its own, the node takes them out of what apps get.

/// Who is signed in to the console.
pub const SESSION: &str = "weir";
/// The same behind TLS, under a name that no other host can set.
pub const SESSION_BEHIND_TLS: &str = "__Host-weir";
/// Tells browsers apart in which somebody was signed in before.
pub const DEVICE: &str = "weir-device";
/// By which release a visitor stays, while there is a canary.
pub const RELEASE: &str = "weir-release";

/// Whether a cookie, written as `NAME=VALUE`, is one of Weir's.
pub fn is_of_weir(pair: &[u8]) -> bool {
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
    [SESSION, SESSION_BEHIND_TLS, DEVICE, RELEASE]
        .iter()
        .any(|own| own.as_bytes() == name)
}

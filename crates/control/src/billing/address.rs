//! Where notices may go. Whoever can add a contact must not reach with it what only this
//! machine reaches: its own services, its neighbours, the metadata service of a cloud.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

const URL_BYTES: usize = 2_000;

/// Whether everybody can reach the address, so that it leads to nothing of ours.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = a == 0
        || a >= 224
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Only 2000::/3 is given out; of it, 2002::/16, 2001::/32 and others wrap an IPv4 address.
    let given_out = segments[0] & 0xe000 == 0x2000;
    let wraps = segments[0] == 0x2002 || (segments[0] == 0x2001 && segments[1] < 0x0200);
    let documentation = segments[0] == 0x2001 && segments[1] == 0x0db8 || segments[0] == 0x3fff;
    given_out && !wraps && !documentation
}

/// Reads the URL of a webhook. With `private`, it may be plain HTTP and lead anywhere. Fails
/// with words. Names are looked up, and their addresses looked at, whenever something is sent.
pub fn check_url(text: &str, private: bool) -> Result<Url, String> {
    if text.len() > URL_BYTES {
        return Err(format!("a URL has {URL_BYTES} bytes at most"));
    }
    let url = Url::parse(text).map_err(|error| format!("that is no URL: {error}"))?;
    let plain = url.scheme() == "http" && private;
    if url.scheme() != "https" && !plain {
        return Err("a webhook goes to an https:// address".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("leave name, password and fragment out of the URL; webhooks are signed".to_owned());
    }
    let public = match url.host() {
        None => return Err("the URL names no host".to_owned()),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name != "localhost" && !name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => is_public_v4(address),
        Some(Host::Ipv6(address)) => is_public_v6(address),
    };
    if public || private {
        Ok(url)
    } else {
        Err("the URL leads to this machine or to a private network".to_owned())
    }
}

/// Reads a mail address. Fails with words.
pub fn check_email(text: &str) -> Result<lettre::Address, String> {
    text.parse()
        .map_err(|error| format!("`{text}` is no mail address ({error}); write it like ops@example.org"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_this_machine_reaches_is_not_public() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:0:1::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "100.128.0.1",
            "172.32.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn urls_that_lead_inside_need_permission() {
        for url in [
            "https://127.0.0.1/x",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://localhost/",
            "https://a.localhost./",
            "http://example.org/",
        ] {
            assert!(check_url(url, false).is_err(), "{url}");
            assert!(check_url(url, true).is_ok(), "{url}");
        }
        for url in [
            "ftp://example.org/",
            "https://me:pw@example.org/",
            "https://example.org/#x",
            "hooks",
        ] {
            assert!(check_url(url, true).is_err(), "{url}");
        }
        assert!(check_url("https://hooks.example.org/weir?team=7", false).is_ok());
    }

    #[test]
    fn mail_addresses_are_addresses() {
        assert!(check_email("ops@example.org").is_ok());
        for text in ["ops", "ops@", "a@b\r\nBcc: c@d.e", "Ops <ops@example.org>"] {
            assert!(check_email(text).is_err(), "{text}");
        }
    }
}

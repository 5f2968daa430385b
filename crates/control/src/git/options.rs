//! What `git push -o` may say.

use weir_model::canary::Canary;

use crate::canary;
use crate::push::PushError;

/// The canary that is asked for: `canary=5` and `canary-header=X-Canary: yes`. Fails for options that
/// Weir does not know, so that nobody believes that they count.
pub(super) fn canary(options: &[String]) -> Result<Option<Canary>, PushError> {
    let hint = "for example `git push -o canary=5`";
    let (mut share, mut header) = (None, None);
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let place = match name {
            "canary" => &mut share,
            "canary-header" => &mut header,
            _ => {
                let shown: String = name.chars().take(40).filter(|c| !c.is_control()).collect();
                let known = "there is `canary=SHARE` and `canary-header=HEADER`";
                return Err(PushError::new(format!("a push has no option `{shown}`; {known}")).with_hint(hint));
            }
        };
        if place.replace(value).is_some() {
            return Err(PushError::new(format!("the option `{name}` is given twice")).with_hint(hint));
        }
    }
    canary::wanted(share, header).map_err(|message| PushError::new(message).with_hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[&str]) -> Result<Option<String>, String> {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let canary = canary(&options).map_err(|error| error.message)?;
        Ok(canary.map(|canary| canary.words()))
    }

    #[test]
    fn a_push_may_ask_for_a_canary() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["canary=5"]), Ok(Some("5 % of the requests".to_owned())));
        let both = read(&["canary=5%", "canary-header=X-Canary: yes"]).unwrap().unwrap();
        assert_eq!(both, "5 % of the requests, and those with `x-canary: yes`");
        assert!(read(&["canary"]).unwrap_err().contains("like 5%"));
        assert!(read(&["canary=5", "canary=6"]).unwrap_err().contains("twice"));
        assert!(read(&["ci.skip"]).unwrap_err().contains("no option `ci.skip`"));
    }
}

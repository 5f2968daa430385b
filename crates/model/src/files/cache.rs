//! `[cache]` of `weir.toml`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::cache::CacheSpec;

/// What Weir keeps of an app's answers, and how it sends them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CacheFile {
    /// Whether answers are kept that say that they may be shared (`Cache-Control: public, max-age=60`); yes if absent.
    pub enabled: Option<bool>,
    /// Whether text is compressed for clients that take it so; yes if absent.
    pub compress: Option<bool>,
}

impl CacheFile {
    pub(super) fn spec(&self) -> CacheSpec {
        let usual = CacheSpec::default();
        CacheSpec {
            enabled: self.enabled.unwrap_or(usual.enabled),
            compress: self.compress.unwrap_or(usual.compress),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::types::ProjectFile;
    use crate::cache::CacheSpec;
    use crate::spec::AppSpec;
    use crate::{AppName, ProcessName};

    fn spec(text: &str) -> Result<AppSpec, String> {
        let file = ProjectFile::parse(text).map_err(|problems| problems.to_string())?;
        let app = AppName::new("shop").unwrap();
        let detected = super::super::spec::Detected {
            commands: BTreeMap::from([(ProcessName::web(), None)]),
            port: None,
        };
        let spec = file.apps(&app).remove(&app).unwrap().spec(app, &detected);
        spec.map_err(|problems| problems.join("\n"))
    }

    #[test]
    fn both_are_on_unless_they_are_switched_off() {
        for (text, enabled, compress) in [
            ("", true, true),
            ("[cache]", true, true),
            ("[cache]\nenabled = false", false, true),
            ("[cache]\ncompress = false", true, false),
            ("[app.shop.cache]\nenabled = false", false, true),
            ("[cache]\ncompress = false\n[app.shop]\nfolder = \"x\"", true, false),
            (
                "[cache]\ncompress = false\n[app.shop.cache]\nenabled = true",
                true,
                true,
            ),
        ] {
            assert_eq!(spec(text).unwrap().cache, CacheSpec { enabled, compress }, "{text}");
        }
        let routes = spec("[[route]]\npath = \"/live\"\ncache = false\n[[route]]\npath = \"/img\"")
            .unwrap()
            .routes;
        assert_eq!(
            routes.iter().map(|route| route.cache).collect::<Vec<_>>(),
            [false, true]
        );
        for text in ["[cache]\nenabled = \"yes\"", "[cache]\nlifetime = 5", "cache = true"] {
            assert!(spec(text).is_err(), "{text}");
        }
    }
}

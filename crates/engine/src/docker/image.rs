//! Images that are there, that come from a tar file, or from a registry.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ImageInspect, ImageSummary};
use bollard::query_parameters::{CreateImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptions};
use bytes::Bytes;
use futures_util::StreamExt as _;
use hyper::Method;

use crate::{BoxStream, EngineError, ImageFacts};

use super::observe::millis_of;
use super::{DockerEngine, errors, raw};

/// Most bytes of the engine's answer to an import, which is one line.
const MOST_ANSWER_BYTES: usize = 1 << 20;

impl DockerEngine {
    /// Makes an image of one layer.
    pub(super) async fn import_image(
        &self,
        tag: &str,
        labels: &BTreeMap<String, String>,
        root: BoxStream<std::io::Result<Bytes>>,
    ) -> Result<String, EngineError> {
        let client = self.client().await?;
        let (repository, version) = split_reference(tag);
        let mut query = vec![
            ("fromSrc", "-".to_owned()),
            ("repo", repository.to_owned()),
            ("tag", version.to_owned()),
        ];
        for (key, value) in labels {
            query.push(("changes", format!("LABEL {}={}", quoted(key)?, quoted(value)?)));
        }
        let target = raw::path_with_query(&format!("{}/images/create", client.prefix), &query);
        let response = raw::send(
            self.socket(),
            Method::POST,
            &target,
            Some("application/x-tar"),
            raw::Upgrade::None,
            raw::streamed(root),
        )
        .await?;
        let answer = response.bytes(MOST_ANSWER_BYTES).await?;
        for line in answer.split(|byte| *byte == b'\n') {
            let Ok(line) = serde_json::from_slice::<serde_json::Value>(line) else {
                continue;
            };
            if let Some(error) = line.get("error").and_then(|error| error.as_str()) {
                return Err(errors::from_status(500, error));
            }
        }
        self.inspect_image(tag)
            .await?
            .map(|facts| facts.id)
            .ok_or_else(|| EngineError::Refused(format!("the engine took the image {tag} and does not have it")))
    }

    /// What is known of an image.
    pub(super) async fn inspect_image(&self, image: &str) -> Result<Option<ImageFacts>, EngineError> {
        match self.docker().await?.inspect_image(image).await {
            Ok(found) => Ok(Some(facts_of(found))),
            Err(error) if errors::is_gone(&error) => Ok(None),
            Err(error) => Err(errors::from_client(error)),
        }
    }

    /// Fetches an image from its registry.
    pub(super) async fn pull_image(&self, reference: &str) -> Result<(), EngineError> {
        let (repository, version) = split_reference(reference);
        let options = CreateImageOptionsBuilder::new()
            .from_image(repository)
            .tag(version)
            .build();
        let docker = self.docker().await?;
        let mut progress = docker.create_image(Some(options), None, None);
        while let Some(step) = progress.next().await {
            let step = step.map_err(|error| pull_error(reference, errors::from_client(error)))?;
            if let Some(message) = step.error_detail.and_then(|detail| detail.message) {
                return Err(pull_error(reference, errors::from_status(500, &message)));
            }
        }
        Ok(())
    }

    /// Images that carry a label (`key` or `key=value`).
    pub(super) async fn list_images(&self, label: &str) -> Result<Vec<ImageFacts>, EngineError> {
        let docker = self.docker().await?;
        let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let listed: Vec<ImageSummary> = docker.list_images(Some(options)).await.map_err(errors::from_client)?;
        let mut images = Vec::with_capacity(listed.len());
        for summary in listed {
            images.extend(self.inspect_image(&summary.id).await?);
        }
        Ok(images)
    }

    /// Removes an image; fine if it is gone or in use.
    pub(super) async fn remove_image(&self, image: &str) -> Result<(), EngineError> {
        let docker = self.docker().await?;
        // By content the engine refuses to remove an image with several tags, and the last tag
        // takes the image along.
        let mut names = match docker.inspect_image(image).await {
            Ok(found) if found.id.as_deref() == Some(image) => found.repo_tags.unwrap_or_default(),
            _ => Vec::new(),
        };
        if names.is_empty() {
            names.push(image.to_owned());
        }
        for name in names {
            match docker.remove_image(&name, None::<RemoveImageOptions>, None).await {
                Ok(_layers) => {}
                Err(error) if errors::is_gone(&error) || errors::is_conflict(&error) => {}
                Err(error) => return Err(errors::from_client(error)),
            }
        }
        Ok(())
    }
}

fn facts_of(found: ImageInspect) -> ImageFacts {
    let config = found.config.unwrap_or_default();
    let is_set = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let mut exposed_ports: Vec<u16> = config
        .exposed_ports
        .iter()
        .flatten()
        .filter_map(|port| port.strip_suffix("/tcp").unwrap_or(port).parse().ok())
        .collect();
    exposed_ports.sort_unstable();
    ImageFacts {
        id: found.id.unwrap_or_default(),
        size_bytes: u64::try_from(found.size.unwrap_or(0)).unwrap_or(0),
        has_command: is_set(&config.cmd) || is_set(&config.entrypoint),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        exposed_ports,
        volumes: config.volumes.unwrap_or_default(),
        created_ms: found.created.as_deref().and_then(millis_of).unwrap_or(0),
    }
}

/// `name:tag` or `name@digest` in its parts; without either the tag is `latest`.
fn split_reference(reference: &str) -> (&str, &str) {
    if let Some((name, digest)) = reference.split_once('@') {
        return (name, digest);
    }
    match reference.rsplit_once(':') {
        // What follows the colon of a registry's port has a slash in it.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "latest"),
    }
}

/// A label's part as the engine's `LABEL` instruction reads it.
fn quoted(text: &str) -> Result<String, EngineError> {
    if text.contains(['\n', '\r', '\0']) {
        return Err(EngineError::Refused(
            "a label of an image cannot have several lines".to_owned(),
        ));
    }
    Ok(format!(
        "\"{}\"",
        text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$")
    ))
}

fn pull_error(reference: &str, error: EngineError) -> EngineError {
    let away = |words: &str| {
        let lower = words.to_lowercase();
        [
            "timeout",
            "connection refused",
            "no such host",
            "i/o timeout",
            "tls",
            "too many requests",
            "eof",
        ]
        .iter()
        .any(|phrase| lower.contains(phrase))
    };
    match error {
        EngineError::Refused(words) | EngineError::NotFound(words) if away(&words) => EngineError::Unreachable(
            format!("the registry of the image {reference} cannot be reached: {words}"),
        ),
        EngineError::Refused(words) | EngineError::NotFound(words) => {
            EngineError::Refused(format!("the image {reference} cannot be fetched: {words}"))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_split_at_the_tag_and_not_at_the_port() {
        assert_eq!(split_reference("weir/app:1"), ("weir/app", "1"));
        assert_eq!(split_reference("python"), ("python", "latest"));
        assert_eq!(split_reference("host:5000/app"), ("host:5000/app", "latest"));
        assert_eq!(split_reference("app@sha256:ab"), ("app", "sha256:ab"));
    }

    #[test]
    fn labels_are_quoted() {
        assert_eq!(quoted("a \"b\" $c").unwrap(), "\"a \\\"b\\\" \\$c\"");
        assert!(quoted("a\nRUN x").is_err());
    }
}

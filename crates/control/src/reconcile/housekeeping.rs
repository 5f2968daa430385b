//! Removes what is no longer used (A17): old releases and their images, build caches beyond
//! their bound. (Old rows of the store are pruned in `serve`.)

use std::collections::BTreeSet;
use std::time::Duration;

use weir_engine::{EngineError, ImageFacts};
use weir_model::EnvironmentId;

use super::driver::PassError;
use crate::context::Context;

/// Pause between two rounds.
const PAUSE: Duration = Duration::from_secs(600);
/// An image that no release names may belong to a build that has not ended: it is kept so long.
const YOUNG_IMAGE_MS: i64 = 2 * 3_600_000;
/// Rounds until control stops.
pub(super) async fn run(context: Context) {
    loop {
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        if let Err(error) = round(&context).await {
            tracing::warn!(%error, "cannot tidy up; trying again in {} minutes", PAUSE.as_secs() / 60);
        }
    }
}

async fn round(context: &Context) -> Result<(), PassError> {
    let now_ms = context.clock.now_ms();
    for environment in context.store.environment_list_all().await? {
        for release in context
            .store
            .release_list_prunable(environment.id, context.config.releases_kept)
            .await?
        {
            context.store.release_delete(release.id).await?;
        }
    }
    remove_unused_images(
        context,
        |facts_created_ms| now_ms - facts_created_ms > YOUNG_IMAGE_MS,
        None,
    )
    .await?;
    context
        .engine
        .build_cache_prune(context.config.build_cache_bytes)
        .await?;
    Ok(())
}

/// Removes the images of an environment that is going, those of its failed builds included;
/// images that were promoted to another one stay. Returns how many are still there because
/// something has hold of them.
pub(super) async fn remove_images_of(context: &Context, environment: EnvironmentId) -> Result<usize, PassError> {
    remove_unused_images(context, |_| true, Some(environment)).await
}

/// Removes images that Weir built and no release names; of one environment, as if it had no
/// releases, if it is given. Returns how many are still there.
async fn remove_unused_images(
    context: &Context,
    old_enough: impl Fn(i64) -> bool,
    only: Option<EnvironmentId>,
) -> Result<usize, PassError> {
    let mut used = BTreeSet::new();
    let environments = context.store.environment_list_all().await?;
    for environment in environments
        .into_iter()
        .filter(|environment| Some(environment.id) != only)
    {
        for release in context.store.release_list(environment.id, i64::MAX).await? {
            used.extend(release.apps.into_values().map(|app| app.image));
        }
    }
    let label = match only {
        Some(environment) => format!("weir.environment={environment}"),
        None => "weir.environment".to_owned(),
    };
    let unused = |image: &ImageFacts| !used.contains(&image.id) && old_enough(image.created_ms);
    for image in context
        .engine
        .image_list(&label)
        .await?
        .iter()
        .filter(|image| unused(image))
    {
        match context.engine.image_remove(&image.id).await {
            Ok(()) | Err(EngineError::NotFound(_)) => {}
            Err(error) => tracing::warn!(image.id, %error, "cannot remove an image that nothing uses"),
        }
    }
    Ok(context
        .engine
        .image_list(&label)
        .await?
        .iter()
        .filter(|image| unused(image))
        .count())
}

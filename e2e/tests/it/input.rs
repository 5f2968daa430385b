//! Hostile and wrong input: refused with a message, within limits.

use anyhow::{Result, ensure};
use e2e::Repository;

use crate::stage::common;

pub(crate) async fn symlink_out_of_the_repository_is_refused() -> Result<()> {
    let repository = Repository::from_folder(common().await?, "symlink", &e2e::probe()).await?;
    std::os::unix::fs::symlink("../../../../etc/shadow", repository.path().join("shadow"))?;
    repository.commit("A way out").await?;
    repository.push("main").await?.refused(&["shadow"])?;
    std::fs::remove_file(repository.path().join("shadow"))?;
    std::os::unix::fs::symlink("/etc", repository.path().join("machine"))?;
    repository.commit("Another").await?;
    repository.push("main").await?.refused(&["machine"])?;
    std::fs::remove_file(repository.path().join("machine"))?;
    // One that stays inside is fine.
    std::os::unix::fs::symlink("app.py", repository.path().join("same.py"))?;
    repository.commit("Inside").await?;
    repository.push("main").await?.ok()?;
    repository.destroy().await
}

pub(crate) async fn odd_file_names_are_no_trouble() -> Result<()> {
    let repository = Repository::from_folder(common().await?, "oddnames", &e2e::probe()).await?;
    repository.write("$(touch hacked)", "a")?;
    repository.write("-rf", "b")?;
    repository.write("ünï cödé.txt", "c")?;
    repository.commit("Odd names").await?;
    repository.push("main").await?.ok()?;
    repository.serves("/", "probe 1").await?;
    let inside = repository.cli(&["run", "--", "ls"]).await?.ok()?.stdout;
    ensure!(
        inside.contains("$(touch hacked)") && inside.contains("-rf"),
        "files are missing:\n{inside}"
    );
    repository.write("a\nb", "a name of two lines")?;
    repository.commit("Too odd").await?;
    repository.push("main").await?.refused(&["control character"])?;
    repository.destroy().await
}

pub(crate) async fn unknown_key_names_the_nearest_known_one() -> Result<()> {
    let repository = Repository::from_folder(common().await?, "wrongkey", &e2e::probe()).await?;
    repository.write("weir.toml", "[volum.data]\npath = \"/data\"\n")?;
    repository.commit("A slip").await?;
    repository.push("main").await?.refused(&["volum", "volume"])?;
    repository.destroy().await
}

pub(crate) async fn wrong_procfile_is_refused_with_the_line() -> Result<()> {
    let repository = Repository::from_folder(common().await?, "wrongprocfile", &e2e::probe()).await?;
    repository.write("Procfile", "web: python app.py\nthis is no process\n")?;
    repository.commit("A slip").await?;
    repository.push("main").await?.refused(&["Procfile", "2"])?;
    repository.destroy().await
}

pub(crate) async fn push_with_a_wrong_token_is_refused() -> Result<()> {
    let repository = Repository::from_folder(common().await?, "wrongtoken", &e2e::probe()).await?;
    let remotes = repository.git(&["remote", "--verbose"]).await?.ok()?;
    let token = repository.weir.token()?;
    ensure!(
        !remotes.stdout.contains(&token),
        "the token stands in the URL: {}",
        remotes.stdout
    );
    let configuration = std::fs::read_to_string(repository.path().join(".git/config"))?;
    ensure!(!configuration.contains(&token), "the token stands in .git/config");
    let url = format!("http://weir:wrong@{}/git/wrongtoken.git", repository.weir.control);
    let refused = repository
        .git(&["-c", "credential.helper=", "push", &url, "main"])
        .await?;
    ensure!(refused.status != 0, "a wrong token was accepted:\n{}", refused.all());
    let url = format!("http://weir:{token}@{}/git/wrongtoken.git", repository.weir.control);
    repository.git(&["push", &url, "main"]).await?.ok()?;
    repository.serves("/", "probe 1").await?;
    repository.destroy().await
}

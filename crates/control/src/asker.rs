//! Who asks for what is being done: known to all that is done for a request without being handed on,
//! because it decides nothing and is only written down.

tokio::task_local! {
    static ASKER: String;
}

/// Does something for somebody: a person's mail address, or the name of a token.
pub(crate) async fn on_behalf_of<T>(name: String, work: impl Future<Output = T>) -> T {
    ASKER.scope(name, work).await
}

/// For whom it is done, if for anybody.
pub(crate) fn current() -> Option<String> {
    ASKER.try_with(Clone::clone).ok()
}

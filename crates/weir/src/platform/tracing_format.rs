//! How `control` and `node` write their logs: a level and a sentence a line, to standard error,
//! where the supervisor reads them. Fields are for machines; a sentence reads alone.

use std::fmt::{self, Write as _};
use std::io;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// Begins to log, as `WEIR_LOG` says (`info` if it is not set; the syntax is that of `RUST_LOG`).
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .event_format(Sentences)
        .with_writer(|| Errors)
        .finish();
    // A second start in one process changes nothing.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Standard error, whose loss must not end a process: the supervisor may be gone.
struct Errors;

impl io::Write for Errors {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().lock().write_all(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Sentences;

impl<S, N> FormatEvent<S, N> for Sentences
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        let mut words = Words {
            sentence: String::new(),
            fields: String::new(),
        };
        event.record(&mut words);
        write!(writer, "{level} {}", words.sentence)?;
        // What a person must act on, or asked to see in detail, comes with all there is.
        if level != Level::INFO && !words.fields.is_empty() {
            write!(writer, " ({})", words.fields)?;
        }
        writeln!(writer)
    }
}

struct Words {
    sentence: String,
    fields: String,
}

impl Words {
    fn add(&mut self, field: &Field, value: &dyn fmt::Display) {
        if field.name() == "message" {
            let _ = write!(self.sentence, "{value}");
            return;
        }
        let value = value.to_string();
        // Most sentences hold their values already.
        if !self.sentence.contains(&value) {
            let separator = if self.fields.is_empty() { "" } else { ", " };
            let _ = write!(self.fields, "{separator}{}: {value}", field.name());
        }
    }
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format_args!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, &value);
    }
}

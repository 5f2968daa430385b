//! `Procfile`: one process a line, `name: command`.

use std::collections::BTreeMap;

use super::PROCFILE_BYTES;
use super::reader::{FileProblem, FileProblems};
use super::values::shorten;
use crate::ProcessName;

/// Longest line, in bytes.
const LINE_BYTES: usize = 8 << 10;
/// Most processes.
const PROCESSES: usize = 32;
/// Most problems that are told of at once.
const PROBLEMS: usize = 10;

/// What a `Procfile` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Procfile {
    /// By name; `release` is among them if it is there.
    pub processes: BTreeMap<ProcessName, ProcfileProcess>,
}

/// One line of a `Procfile`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcfileProcess {
    /// The name as it stands in the file (`Celery_Worker` becomes the process `celery-worker`).
    pub written: String,
    /// The command for `/bin/sh -c`; a comment at its end is the shell's to skip.
    pub command: String,
    /// Line, from 1.
    pub line: usize,
}

impl Procfile {
    /// Reads a `Procfile`. One line that cannot be read makes the whole file invalid, because a
    /// process that silently does not run is worse than an error. `path` is for messages.
    pub fn parse(bytes: &[u8], path: &str) -> Result<Self, FileProblems> {
        let whole = |message: String| FileProblems {
            file: path.to_owned(),
            problems: vec![FileProblem { line: None, message }],
        };
        if bytes.len() > PROCFILE_BYTES {
            return Err(whole(format!(
                "it has {} bytes; at most {PROCFILE_BYTES} are read",
                bytes.len()
            )));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = 1 + bytes[..error.valid_up_to()]
                .iter()
                .filter(|&&byte| byte == b'\n')
                .count();
            whole(format!("line {line} is not UTF-8 text"))
        })?;
        let mut procfile = Self::default();
        let mut problems = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').split('\n').enumerate() {
            if let Err(message) = procfile.line(line.trim(), index + 1)
                && problems.len() < PROBLEMS
            {
                problems.push(FileProblem {
                    line: Some(index + 1),
                    message,
                });
            }
        }
        if problems.is_empty() && procfile.processes.is_empty() {
            return Err(whole(
                "it names no process; a line looks like `web: gunicorn app:app`".to_owned(),
            ));
        }
        if problems.is_empty() {
            Ok(procfile)
        } else {
            Err(FileProblems {
                file: path.to_owned(),
                problems,
            })
        }
    }

    fn line(&mut self, line: &str, number: usize) -> Result<(), String> {
        if line.is_empty() || line.starts_with('#') || line.starts_with("//") {
            return Ok(());
        }
        if line.len() > LINE_BYTES {
            return Err(format!(
                "the line has {} bytes; at most {LINE_BYTES} are read",
                line.len()
            ));
        }
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err("the line has a control character in it".to_owned());
        }
        let Some((written, command)) = line.split_once(':') else {
            return Err(format!("`{}` is not of the form `name: command`", shorten(line)));
        };
        let (written, command) = (written.trim_end(), command.trim());
        let name =
            ProcessName::new(&written.to_ascii_lowercase().replace('_', "-")).map_err(|error| error.to_string())?;
        if command.is_empty() || command.starts_with('#') {
            return Err(format!("the process `{name}` has no command"));
        }
        if self.processes.len() >= PROCESSES {
            return Err(format!("more than {PROCESSES} processes"));
        }
        let process = ProcfileProcess {
            written: written.to_owned(),
            command: command.to_owned(),
            line: number,
        };
        match self.processes.get(&name) {
            Some(first) => Err(format!(
                "the process `{name}` is there twice; first in line {}",
                first.line
            )),
            None => {
                self.processes.insert(name, process);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &[u8]) -> String {
        Procfile::parse(text, "Procfile")
            .map(|_| String::new())
            .unwrap_or_else(|problems| problems.to_string())
    }

    #[test]
    fn processes_comments_and_windows_lines_are_read() {
        let procfile = Procfile::parse("\u{feff}# comment\r\n// too\r\nweb: gunicorn 'a:b' # x\r\nCelery_Worker:celery -A a:b\r\n\r\nrelease : ./migrate".as_bytes(), "Procfile").unwrap();
        let commands: Vec<_> = procfile
            .processes
            .iter()
            .map(|(name, process)| (name.as_str(), process.command.as_str(), process.line))
            .collect();
        assert_eq!(
            commands,
            [
                ("celery-worker", "celery -A a:b", 4),
                ("release", "./migrate", 6),
                ("web", "gunicorn 'a:b' # x", 3)
            ]
        );
    }

    #[test]
    fn one_bad_line_makes_the_file_invalid_and_is_named() {
        assert_eq!(
            problems(b"web: a\nworker\n"),
            "Procfile, line 2: `worker` is not of the form `name: command`"
        );
        assert_eq!(
            problems(b"web: a\nweb: b\n"),
            "Procfile, line 2: the process `web` is there twice; first in line 1"
        );
        assert!(problems(b"web:\n").contains("has no command"));
        assert!(problems(b"../x: a\n").contains("cannot be the name of a process"));
        assert!(problems(b"").contains("names no process"));
    }

    #[test]
    fn hostile_files_are_refused_with_a_short_message() {
        let gigantic = [b"web: ".as_slice(), &vec![b'a'; 60 << 10]].concat();
        assert!(problems(&gigantic).contains("at most 8192 are read"));
        assert!(problems(&vec![b'a'; 10 << 20]).contains("at most 65536 are read"));
        assert!(problems(b"web: a\nworker: \xff\xfe\n").contains("line 2 is not UTF-8"));
        assert!(problems(b"web: a\0b\n").contains("control character"));
        let many: String = (0..5_000).map(|number| format!("p{number}: x\n")).collect();
        let message = problems(many.as_bytes());
        assert!(
            message.contains("more than 32 processes") && message.len() < 2_000,
            "{message}"
        );
    }
}

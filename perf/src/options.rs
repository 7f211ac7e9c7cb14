//! Command lines of the form `--name value`, and the two process settings every program here needs.

use std::collections::HashMap;
use std::io;
use std::str::FromStr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Parsed `--name value` pairs.
#[derive(Debug, Default)]
pub struct Options {
    values: HashMap<String, String>,
}

impl Options {
    /// Reads pairs from `arguments`; a name outside `known` is an error, so that a slip of the pen cannot measure
    /// something else than what was asked for.
    pub fn parse(arguments: impl Iterator<Item = String>, known: &[&str]) -> io::Result<Self> {
        let mut arguments = arguments;
        let mut values = HashMap::new();
        while let Some(argument) = arguments.next() {
            let name = argument
                .strip_prefix("--")
                .filter(|name| known.contains(name));
            let Some(name) = name else {
                return Err(io::Error::other(format!(
                    "{argument}: unknown; known are --{}",
                    known.join(" --")
                )));
            };
            let Some(value) = arguments.next() else {
                return Err(io::Error::other(format!("{argument} wants a value")));
            };
            values.insert(name.to_owned(), value);
        }
        Ok(Self { values })
    }

    /// The text given for `name`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value given for `name`, or `default`.
    pub fn value<T: FromStr>(&self, name: &str, default: T) -> io::Result<T> {
        match self.text(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| io::Error::other(format!("--{name} {text}: not a value of its kind"))),
        }
    }
}

/// Confines the calling thread, and what it starts from now on, to one CPU.
pub fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

/// Raises the soft limit of open files to the hard one and returns it.
pub fn raise_file_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> io::Result<Options> {
        Options::parse(
            words.iter().map(|word| (*word).to_owned()),
            &["bytes", "to"],
        )
    }

    #[test]
    fn pairs_defaults_and_mistakes() {
        let options = parse(&["--bytes", "20"]).unwrap();
        assert_eq!(options.value("bytes", 1).unwrap(), 20);
        assert_eq!(options.value("to", 7).unwrap(), 7);
        assert!(
            parse(&["--byte", "20"]).is_err(),
            "unknown names are refused"
        );
        assert!(
            parse(&["--bytes"]).is_err(),
            "a name without a value is refused"
        );
        assert!(
            parse(&["--bytes", "x"]).unwrap().value("bytes", 1).is_err(),
            "a word is not a number"
        );
    }
}

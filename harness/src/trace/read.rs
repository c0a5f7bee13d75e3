//! Reads recordings: CSV with a header line, or NDJSON with the same names.
//!
//! | name | meaning |
//! |---|---|
//! | `time` | seconds, from any beginning |
//! | `timestamp` | milliseconds since 1970, as Kafka's tools print a record's timestamp; instead of `time` |
//! | `key` | the record's key; empty or left out: none |
//! | `size` | bytes of the value; empty or left out: `payload.size` |
//!
//! Other columns are an error: one with a typing error in its name would be read as left out.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::Path;

use serde::Deserialize;

use super::{KeyNumbers, NO_KEY, Recording, Row};

/// Most records that a recording may have: 16 bytes each are held in memory, and three times as much while it is read.
pub const RECORDS_MAX: usize = 20_000_000;
/// Most bytes of all its different keys together.
pub const KEY_BYTES_MAX: usize = 1 << 30;
/// Longest value that a recording may ask for: far above every broker's `message.max.bytes`.
const SIZE_MAX: u32 = 1 << 30;

/// What is wrong with a recording.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file can't be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A line can't be understood.
    #[error("{path}:{line}: {message}")]
    Line {
        /// The file.
        path: String,
        /// Its line, from 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// There is nothing, or too much.
    #[error("{path} {message}")]
    Whole {
        /// The file.
        path: String,
        /// What is wrong.
        message: String,
    },
}

/// A line of a recording, in either form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    time: Option<f64>,
    timestamp: Option<i64>,
    key: Option<String>,
    size: Option<u32>,
}

/// Reads a recording, whose values have to be of `value_bytes_min` bytes at least. A file that begins with `{` is NDJSON,
/// any other one CSV.
///
/// # Errors
/// What is wrong with it, and in which line.
pub fn read(path: &Path, value_bytes_min: u32) -> Result<Recording, ReadError> {
    let name = path.display().to_string();
    let io = |source| ReadError::Io { path: name.clone(), source };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let is_json = file.fill_buf().map_err(io)?.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    file.rewind().map_err(io)?;
    let mut rows = Rows { value_bytes_min, ..Rows::default() };
    if is_json { json(file, &name, &mut rows) } else { csv(file, &name, &mut rows) }?;
    if rows.rows.is_empty() {
        return Err(ReadError::Whole { path: name, message: "has no records".to_owned() });
    }
    Ok(Recording::new(rows.rows, rows.keys.into_keys()))
}

fn json(file: impl BufRead, name: &str, rows: &mut Rows) -> Result<(), ReadError> {
    for (number, line) in (1..).zip(file.lines()) {
        let at = |message: String| ReadError::Line { path: name.to_owned(), line: number, message };
        let text = line.map_err(|error| at(error.to_string()))?;
        if text.trim().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_str(&text).map_err(|error| at(error.to_string()))?;
        rows.add(line).map_err(at)?;
    }
    Ok(())
}

fn csv(file: impl BufRead, name: &str, rows: &mut Rows) -> Result<(), ReadError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(file);
    let line_of = |error: &csv::Error| error.position().map_or(1, csv::Position::line);
    let at = |line: u64, message: String| ReadError::Line { path: name.to_owned(), line, message };
    let headers = reader.headers().map_err(|error| at(line_of(&error), error.to_string()))?.clone();
    if !headers.iter().any(|column| column == "time" || column == "timestamp") {
        let message = "the first line must name the columns: `time` or `timestamp`, and `key` and `size` if there are any";
        return Err(at(1, message.to_owned()));
    }
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| at(line_of(&error), error.to_string()))? {
        let number = record.position().map_or(0, csv::Position::line);
        let line = record.deserialize(Some(&headers)).map_err(|error| at(number, told(&error)))?;
        rows.add(line).map_err(|message| at(number, message))?;
    }
    Ok(())
}

/// What `csv` says without the position, which ours has already.
fn told(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
        _ => error.to_string(),
    }
}

#[derive(Default)]
struct Rows {
    /// No value may be shorter.
    value_bytes_min: u32,
    rows: Vec<Row>,
    keys: KeyNumbers,
    /// Records of the file count from here: times may be of any beginning, also below zero.
    first: Option<i128>,
}

impl Rows {
    fn add(&mut self, line: Line) -> Result<(), String> {
        if self.rows.len() == RECORDS_MAX {
            return Err(format!("more than {RECORDS_MAX} records; they are held in memory"));
        }
        let at_ns = instant_ns(&line)?;
        if let Some(size) = line.size
            && !(self.value_bytes_min..=SIZE_MAX).contains(&size)
        {
            return Err(format!(
                "a value of {size} bytes; it must be from {} (what has to be in these values) to {SIZE_MAX}",
                self.value_bytes_min
            ));
        }
        // Rows are held from their smallest time on; until that is known, from far below the first.
        let first = *self.first.get_or_insert(at_ns - FAR_NS);
        let since = u64::try_from(at_ns - first).ok().filter(|since| *since <= 2 * FAR_NS as u64);
        let at_ns = since.ok_or("more than 50 years from the first record")?;
        let key = match line.key.as_deref() {
            None | Some("") => NO_KEY,
            Some(key) => self.keys.of(key.as_bytes()),
        };
        if self.keys.bytes > KEY_BYTES_MAX {
            return Err(format!(
                "more than {KEY_BYTES_MAX} bytes of different keys; they are held in memory"
            ));
        }
        self.rows.push(Row { at_ns, size: line.size, key });
        Ok(())
    }
}

/// Thirty thousand years either way: what is beyond is no time in seconds.
const SECONDS_MAX: f64 = 1e12;
/// Fifty years.
const FAR_NS: i128 = 50 * 365 * 86_400 * 1_000_000_000;

fn instant_ns(line: &Line) -> Result<i128, String> {
    match (line.time, line.timestamp) {
        // Microseconds: as many digits as a double has left for the seconds since 1970.
        (Some(seconds), None) if seconds.abs() < SECONDS_MAX => Ok((seconds * 1e6).round() as i128 * 1_000),
        (Some(seconds), None) => Err(format!("`time` is {seconds}")),
        (None, Some(ms)) => Ok(i128::from(ms) * 1_000_000),
        (Some(_), Some(_)) => Err("both `time` and `timestamp`; one is enough".to_owned()),
        (None, None) => Err("neither `time` nor `timestamp`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Recording, ReadError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace");
        std::fs::write(&path, text).unwrap();
        read(&path, 34)
    }

    fn rows(text: &str) -> Vec<(u64, Option<u32>, Option<String>)> {
        let recording = read_text(text).unwrap();
        let key = |row: &Row| {
            recording.keys.get(row.key as usize).map(|key| String::from_utf8_lossy(key).into_owned())
        };
        recording.rows.iter().map(|row| (row.at_ns / 1_000_000, row.size, key(row))).collect()
    }

    #[test]
    fn both_forms_say_the_same() {
        let key = |text: &str| Some(text.to_owned());
        let expected = vec![(0, Some(120), key("a,b")), (500, None, None), (1500, Some(34), key("c"))];
        let csv = "time, size ,key\n10.5,,\n10,120,\"a,b\"\n11.5,34,c\n";
        assert_eq!(rows(csv), expected);
        let json = "{\"time\": 10, \"size\": 120, \"key\": \"a,b\"}\n\n{\"time\": 10.5}\n{\"time\": 11.5, \"size\": 34, \"key\": \"c\"}\n";
        assert_eq!(rows(json), expected);
        let timestamps =
            "timestamp,key,size\n1700000000500,,\n1700000000000,\"a,b\",120\n1700000001500,c,34\n";
        assert_eq!(rows(timestamps), expected);
    }

    #[test]
    fn keys_are_taken_as_they_are() {
        let keys = |text: &str| rows(text).into_iter().map(|row| row.2.unwrap()).collect::<Vec<_>>();
        assert_eq!(keys("key,time\n#1,1\n\" a\",2\n b ,3\n"), ["#1", " a", " b "]);
        assert_eq!(keys("{\"time\": 1, \"key\": \" a\"}\n"), [" a"]);
    }

    #[test]
    fn times_may_begin_anywhere() {
        assert_eq!(rows("time\n-1\n-2.5\n").iter().map(|row| row.0).collect::<Vec<_>>(), [0, 1500]);
        assert_eq!(
            rows("time\n1763769600.25\n1763769600\n").iter().map(|row| row.0).collect::<Vec<_>>(),
            [0, 250]
        );
    }

    #[test]
    fn mistakes_are_named_by_line() {
        let cases = [
            ("", "trace:1: the first line must name the columns"),
            ("time,key\n", "has no records"),
            ("key,size\na,100\n", "trace:1: the first line must name the columns"),
            ("time,keys\n1,a\n", "trace:2: unknown field `keys`"),
            ("time\n1\nsoon\n", "trace:3: field 0: invalid float literal"),
            ("time,size\n1,100\n2,20\n", "trace:3: a value of 20 bytes"),
            ("time,timestamp\n1,2\n", "trace:2: both `time` and `timestamp`"),
            ("time,size\n,100\n", "trace:2: neither `time` nor `timestamp`"),
            ("time\n0\n1e11\n", "trace:3: more than 50 years"),
            ("time\n1.7e33\n", "trace:2: `time` is 17"),
            ("{\"time\": 1}\n{\"time\": 2, \"sise\": 3}\n", "trace:2: unknown field `sise`"),
        ];
        for (text, expected) in cases {
            let error = read_text(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}

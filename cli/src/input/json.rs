//! JSON objects: one a line (`.jsonl`), or a list of them (`.json`). A name that an object lacks is null, if another one
//! before it had it.
//!
//! Numbers are kept as they are written, so that floats come out bit for bit; NaN, Infinity and -Infinity are taken where
//! Python writes them.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use super::{Cells, Column, RowFile, Rows, cell::Cell};
use crate::failure::{Failure, Outcome};

type Object = Vec<(String, Cell)>;

/// Where objects come from.
enum Objects {
    Lines(BufReader<File>),
    All(VecDeque<Object>),
}

pub(super) struct JsonFile {
    file: String,
    size: u64,
    position: u64,
    objects: Objects,
    names: Vec<String>,
    read: u64,
}

impl JsonFile {
    /// An object a line.
    pub(super) fn lines(path: &Path, file: File) -> Self {
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        Self::new(path, size, Objects::Lines(BufReader::new(file)))
    }

    /// A list of objects, or one after the other.
    pub(super) fn whole(path: &Path, mut file: File) -> Outcome<Self> {
        let mut text = String::new();
        let name = path.display();
        file.read_to_string(&mut text).map_err(|error| Failure::io(format_args!("{name} cannot be read"), &error))?;
        let objects = Scanner::new(without_mark(&text)).objects();
        let objects = objects.map_err(|error| Failure::wrong(format!("{name}: {}", error.within(&text))))?;
        Ok(Self::new(path, objects.len() as u64, Objects::All(objects.into())))
    }

    fn new(path: &Path, size: u64, objects: Objects) -> Self {
        Self { file: path.display().to_string(), size, position: 0, objects, names: Vec::new(), read: 0 }
    }

    fn object(&mut self) -> Outcome<Option<Object>> {
        let lines = match &mut self.objects {
            Objects::All(objects) => {
                self.position += 1;
                return Ok(objects.pop_front());
            }
            Objects::Lines(lines) => lines,
        };
        loop {
            let mut line = String::new();
            let is_first = self.position == 0;
            let read = lines.read_line(&mut line);
            let read = read.map_err(|error| Failure::io(format_args!("{} cannot be read", self.file), &error))?;
            self.position += read as u64;
            if read == 0 {
                return Ok(None);
            }
            if !line.trim_matches(MARK).trim().is_empty() {
                let text = if is_first { without_mark(&line) } else { &line };
                let object = Scanner::new(text).only_object();
                let row = self.read + 1;
                let wrong = |error: Wrong| Failure::wrong(format!("{}: row {row}: {}", self.file, error.message));
                return object.map(Some).map_err(wrong);
            }
        }
    }
}

impl RowFile for JsonFile {
    fn next(&mut self, max_rows: usize) -> Outcome<Option<Rows>> {
        let first = self.read + 1;
        let mut columns: Vec<Vec<Cell>> = vec![Vec::new(); self.names.len()];
        let mut len = 0;
        while len < max_rows
            && let Some(object) = self.object()?
        {
            self.read += 1;
            for (name, cell) in object {
                let position = self.names.iter().position(|known| *known == name).unwrap_or_else(|| {
                    self.names.push(name);
                    columns.push(vec![Cell::Null; len]);
                    self.names.len() - 1
                });
                columns[position].resize(len, Cell::Null);
                columns[position].push(cell);
            }
            len += 1;
            columns.iter_mut().for_each(|column| column.resize(len, Cell::Null));
        }
        let column = |(name, cells): (&String, Vec<Cell>)| Column { name: name.clone(), cells: Cells::Untyped(cells) };
        let columns = self.names.iter().zip(columns).map(column).collect();
        Ok((len > 0).then(|| Rows { file: self.file.clone(), first, len, columns }))
    }

    fn progress(&self) -> (u64, u64) {
        (self.size, self.position)
    }
}

/// What some programs begin a text with to say that it is UTF-8.
const MARK: char = '\u{feff}';

fn without_mark(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// The items of a JSON list; none for what is no list.
pub(super) fn list(text: &str) -> Option<Vec<Cell>> {
    let mut scanner = Scanner::new(text);
    match scanner.value() {
        Ok(Cell::List(items)) if scanner.rest().is_empty() => Some(items),
        Ok(_) | Err(_) => None,
    }
}

/// What is wrong, and at which byte.
#[derive(Debug)]
struct Wrong {
    at: usize,
    message: String,
}

impl Wrong {
    fn within(&self, text: &str) -> String {
        let line = text.get(..self.at).unwrap_or(text).matches('\n').count() + 1;
        format!("line {line}: {}", self.message)
    }
}

/// Goes through JSON once.
struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scanner<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    fn objects(mut self) -> Result<Vec<Object>, Wrong> {
        let mut objects = Vec::new();
        let listed = self.take("[");
        let mut is_over = listed && self.take("]");
        while !is_over && (listed || !self.rest().is_empty()) {
            objects.push(self.object()?);
            is_over = listed && self.take("]");
            if listed && !is_over && !self.take(",") {
                return Err(self.wrong("`,` or `]` is missing"));
            }
        }
        if self.rest().is_empty() { Ok(objects) } else { Err(self.wrong("nothing can follow the list")) }
    }

    fn only_object(mut self) -> Result<Object, Wrong> {
        let object = self.object()?;
        if self.rest().is_empty() { Ok(object) } else { Err(self.wrong("one line is one object, and this has more")) }
    }

    fn object(&mut self) -> Result<Object, Wrong> {
        if !self.take("{") {
            return Err(self.wrong("an object {\"name\": value, …} is missing"));
        }
        let mut object: Object = Vec::new();
        if self.take("}") {
            return Ok(object);
        }
        loop {
            let name = self.string()?;
            if object.iter().any(|(known, _)| *known == name) {
                return Err(self.wrong(&format!("`{name}` is there twice")));
            }
            if !self.take(":") {
                return Err(self.wrong("`:` is missing"));
            }
            object.push((name, self.value()?));
            if self.take("}") {
                return Ok(object);
            }
            if !self.take(",") {
                return Err(self.wrong("`,` or `}` is missing"));
            }
        }
    }

    fn value(&mut self) -> Result<Cell, Wrong> {
        match self.rest().bytes().next() {
            Some(b'"') => self.string().map(Cell::Text),
            Some(b'[') => self.list(),
            Some(b'{') => Err(self.wrong("an object within a row is no value of any type")),
            _ => self.word(),
        }
    }

    fn list(&mut self) -> Result<Cell, Wrong> {
        self.take("[");
        let mut items = Vec::new();
        if self.take("]") {
            return Ok(Cell::List(items));
        }
        loop {
            if self.rest().starts_with('[') {
                return Err(self.wrong("a list of lists is no value of any type"));
            }
            items.push(self.value()?);
            if self.take("]") {
                return Ok(Cell::List(items));
            }
            if !self.take(",") {
                return Err(self.wrong("`,` or `]` is missing"));
            }
        }
    }

    fn string(&mut self) -> Result<String, Wrong> {
        let rest = self.rest();
        if !rest.starts_with('"') {
            return Err(self.wrong("a name or text in quotes is missing"));
        }
        let mut escaped = false;
        let end = rest.bytes().skip(1).position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let Some(end) = end else { return Err(self.wrong("text without its closing quote")) };
        let quoted = &rest[..end + 2];
        let text = serde_json::from_str(quoted).map_err(|error| self.wrong(&error.to_string()))?;
        self.at += quoted.len();
        Ok(text)
    }

    /// A number, true, false, null, or what Python writes for floats that JSON lacks.
    fn word(&mut self) -> Result<Cell, Wrong> {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        let is_number = word.starts_with(|c: char| c.is_ascii_digit() || c == '-') && word.parse::<f64>().is_ok();
        let cell = match word {
            "null" => Cell::Null,
            "true" => Cell::Bool(true),
            "false" => Cell::Bool(false),
            "NaN" | "Infinity" | "-Infinity" => Cell::Number(word.to_owned()),
            _ if is_number => Cell::Number(word.to_owned()),
            _ => return Err(self.wrong("a value is missing, or is not JSON")),
        };
        self.at += end;
        Ok(cell)
    }

    /// Whether `token` comes next; it is passed by.
    fn take(&mut self, token: &str) -> bool {
        let comes = self.rest().starts_with(token);
        if comes {
            self.at += token.len();
        }
        comes
    }

    /// What is left, from its first character that is no space.
    fn rest(&mut self) -> &'t str {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn wrong(&self, message: &str) -> Wrong {
        Wrong { at: self.at, message: format!("not JSON at byte {}: {message}", self.at + 1) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(text: &str) -> Result<Object, String> {
        Scanner::new(text).only_object().map_err(|wrong| wrong.message)
    }

    #[test]
    fn rows_are_read_with_their_numbers_as_written() {
        let row =
            object(r#" {"a": 0.12345678901234568, "b" :"x\"\u00e9,}", "c":[1, null],"d":NaN,"e":-Infinity,"f":true} "#);
        let expected = vec![
            ("a".to_owned(), Cell::Number("0.12345678901234568".to_owned())),
            ("b".to_owned(), Cell::Text("x\"é,}".to_owned())),
            ("c".to_owned(), Cell::List(vec![Cell::Number("1".to_owned()), Cell::Null])),
            ("d".to_owned(), Cell::Number("NaN".to_owned())),
            ("e".to_owned(), Cell::Number("-Infinity".to_owned())),
            ("f".to_owned(), Cell::Bool(true)),
        ];
        assert_eq!(row.unwrap(), expected);
        assert_eq!(object("{}").unwrap(), vec![]);
    }

    #[test]
    fn what_is_not_a_row_says_why() {
        let cases = [
            ("", "an object"),
            ("[1]", "an object"),
            (r#"{"a" 1}"#, "`:` is missing"),
            (r#"{"a": 1"#, "`,` or `}` is missing"),
            (r#"{"a": {}}"#, "an object within a row"),
            (r#"{"a": [[1]]}"#, "a list of lists"),
            (r#"{"a": "x"#, "closing quote"),
            (r#"{"a": 1, "a": 2}"#, "`a` is there twice"),
            (r#"{"a": 1} {"#, "one line is one object"),
            (r#"{"a": infinity}"#, "a value is missing"),
            (r#"{"a": 1-2}"#, "a value is missing"),
        ];
        for (text, message) in cases {
            let error = object(text).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_is_a_list_or_one_object_after_the_other() {
        for text in [r#"[{"a":1},{"a":2}]"#, "{\"a\":1}\n{\"a\":2}", "[\n {\"a\":1} ,\n {\"a\":2}\n]\n"] {
            assert_eq!(Scanner::new(text).objects().unwrap().len(), 2, "{text}");
        }
        assert_eq!(Scanner::new("[]").objects().unwrap().len(), 0);
        for text in ["[{\"a\":1}", "[{\"a\":1}]]", "[{\"a\":1} {\"a\":2}]", "[{\"a\":1},]", "[,]", "[", "[{\"a\":1},"] {
            assert!(Scanner::new(text).objects().is_err(), "{text}");
        }
    }

    #[test]
    fn a_mark_at_the_beginning_is_no_part_of_it() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a.jsonl", "\u{feff}{\"a\":1}\n{\"a\":2}\n"), ("a.json", "\u{feff}[{\"a\":1},{\"a\":2}]")]
        {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let rows = super::super::open(&path, 10).unwrap().next(10).unwrap().unwrap();
            assert_eq!((rows.len, rows.names().collect::<Vec<_>>()), (2, vec!["a"]));
        }
    }

    proptest! {
        /// serde_json judges what JSON is; here every text that it takes as a flat object must be taken, with equal texts.
        #[test]
        fn what_is_json_is_read_alike(names in proptest::collection::btree_map(".{0,8}", ".{0,12}", 0..5)) {
            let text = serde_json::to_string(&names).unwrap();
            let row = object(&text).unwrap();
            let expected: Vec<_> = names.into_iter().map(|(name, value)| (name, Cell::Text(value))).collect();
            prop_assert_eq!(row, expected);
        }

        #[test]
        fn anything_else_is_an_error_and_no_panic(text in ".{0,40}") {
            let _ = object(&text);
            let _ = Scanner::new(&text).objects();
            let _ = list(&text);
        }
    }
}

//! `larder online`: feature values of entities, as a model is served them.

use std::path::{Path, PathBuf};

use arrow::array::ArrayRef;
use larder_client::{OnlineAnswer, OnlineRequest, ServingClient};
use larder_definitions::selection::Selection;
use larder_types::{Error, ErrorCode, Name, ValueType, did_you_mean, near_names};

use super::{Context, browse, selection::Features};
use crate::{
    console::say,
    exit::Exit,
    failure::{Failure, Outcome},
    input::{
        Cells, Rows, open,
        pairs::{self, Pair},
    },
    render::{numbers::counted, online::Online},
    services::Reached,
};

/// Show the features of entities, as they are served
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  larder online credit_scoring_service customer_id=CUST00000042,CUST00000043 \
    --request loan_amount=12000\n\n\
    Values are PRESENT, or one of NULL, NOT_FOUND and OUTSIDE_MAX_AGE stands in their place. Several entities: \
    key=v1,v2,… (a comma within a value is \\,), or a file with a column for each join key and each request value.")]
pub(crate) struct Arguments {
    /// A feature service, then join keys and request data as name=value
    #[arg(value_name = "SERVICE|NAME=VALUE")]
    words: Vec<String>,
    #[command(flatten)]
    features: Features,
    /// Request data of on-demand features: one value for all entities, or one for each
    #[arg(long, value_name = "NAME=VALUE")]
    request: Vec<Pair>,
    /// A .csv, .json, .jsonl or .parquet file with the entities
    #[arg(long, value_name = "FILE")]
    entities: Option<PathBuf>,
    /// Show also what a replay needs: revision, instant, and the version of each row
    #[arg(long)]
    replay: bool,
}

/// The most entities: they are read into memory, and so are the answers.
const MAX_ENTITIES: usize = 1_000_000;

/// Entities of one call, or fewer where their answer would be too great.
const AT_ONCE: usize = 10_000;

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Outcome {
    let (service, pairs) = words(&arguments.words)?;
    let features = arguments.features.selection(service)?;
    let catalog = browse::catalog(context).await?;
    let selection = Selection::resolve(&catalog, &features, arguments.features.full_names)?;
    let wanted = Wanted::of(&selection);
    let pairs: Vec<&Pair> = pairs.iter().chain(&arguments.request).collect();
    let rows = match &arguments.entities {
        Some(file) => wanted.rows_of_file(file, &pairs, MAX_ENTITIES)?,
        None => wanted.rows_of_pairs(&pairs)?,
    };
    let entities = wanted.entity_columns(&rows)?;
    let request = OnlineRequest {
        project: catalog.project.clone(),
        features,
        entities: entities.clone(),
        request_data: wanted.request_columns(&rows)?,
        full_names: arguments.features.full_names,
        include_replay: arguments.replay,
        min_revision: catalog.revision,
        rows: if wanted.entities.is_empty() { 1 } else { 0 },
    };
    let answers = answers(&context.services.serving()?, &request).await?;
    context.console.report(&Online { project: catalog.project.clone(), entities, answers })?;
    Ok(Exit::Ok)
}

/// The answers for all entities, stretch by stretch.
async fn answers(serving: &Reached<ServingClient>, request: &OnlineRequest) -> Outcome<Vec<OnlineAnswer>> {
    let Some(entities) = request.entities.first().map(|(_, values)| values.len()) else {
        return Ok(vec![serving.explain(serving.client.online_features(request).await)?]);
    };
    let (mut answers, mut start, mut most) = (Vec::new(), 0, AT_ONCE);
    while start < entities {
        let len = most.min(entities - start);
        match serving.client.online_features(&stretch(request, start, len)).await {
            Err(error) if len > 1 && is_too_great(&error) => most = len / 2,
            answer => {
                answers.push(serving.explain(answer)?);
                start += len;
            }
        }
    }
    let names =
        |answer: &OnlineAnswer| -> Vec<String> { answer.features.iter().map(|feature| feature.name.clone()).collect() };
    if answers.windows(2).any(|pair| names(&pair[0]) != names(&pair[1])) {
        let message = "the definitions have changed while the entities were asked for: ask again";
        return Err(Failure::Error(Error::new(ErrorCode::Conflict, message)));
    }
    Ok(answers)
}

fn stretch(request: &OnlineRequest, start: usize, len: usize) -> OnlineRequest {
    let part = |columns: &[(String, ArrayRef)]| -> Vec<(String, ArrayRef)> {
        columns.iter().map(|(name, values)| (name.clone(), values.slice(start, len))).collect()
    };
    OnlineRequest { entities: part(&request.entities), request_data: part(&request.request_data), ..request.clone() }
}

/// Whether fewer entities could be answered.
fn is_too_great(error: &Error) -> bool {
    ["serving.limits.", "max_request_bytes"].iter().any(|limit| error.message().contains(limit))
}

/// The service, where the first word is one, and the other words.
fn words(words: &[String]) -> Outcome<(Option<Name>, Vec<Pair>)> {
    let (service, pairs) = match words.split_first() {
        Some((first, rest)) if !first.contains('=') => {
            (Some(first.parse::<Name>().map_err(|error| Failure::usage(error.to_string()))?), rest)
        }
        Some(_) | None => (None, words),
    };
    let pairs =
        pairs.iter().map(|word| word.parse().map_err(|error: String| Failure::usage(error))).collect::<Outcome<_>>()?;
    Ok((service, pairs))
}

/// The columns that the features need, with their types.
struct Wanted {
    entities: Vec<(String, ValueType)>,
    request: Vec<(String, ValueType)>,
    /// Request data that may be given too.
    spare: Vec<(String, ValueType)>,
}

impl Wanted {
    fn of(selection: &Selection) -> Self {
        let entity = |(name, key_type): (&Name, &larder_types::KeyType)| (name.to_string(), key_type.scalar().into());
        let request = |(name, value_type): &(Name, ValueType)| (name.to_string(), *value_type);
        Self {
            entities: selection.entity_columns.iter().map(entity).collect(),
            request: selection.request_columns.iter().map(request).collect(),
            spare: selection.spare_request_columns.iter().map(request).collect(),
        }
    }

    fn columns(&self) -> impl Iterator<Item = &(String, ValueType)> {
        self.entities.iter().chain(&self.request).chain(&self.spare)
    }

    fn type_of(&self, name: &str) -> Outcome<ValueType> {
        let found = self.columns().find(|(known, _)| known == name);
        let known: Vec<&str> = self.columns().map(|(known, _)| known.as_str()).collect();
        let unknown = || {
            let hint = did_you_mean(&near_names(name, known.iter().copied()));
            let needed = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
            Failure::Error(Error::not_found(format!("`{name}` is none of what these features need: {needed}{hint}")))
        };
        found.map(|(_, value_type)| *value_type).ok_or_else(unknown)
    }

    fn rows_of_pairs(&self, given: &[&Pair]) -> Outcome<Rows> {
        let typed = given.iter().map(|pair| Ok((*pair, self.type_of(pair.name.as_str())?)));
        pairs::rows(typed.collect::<Outcome<_>>()?)
    }

    /// The file's rows, `max_rows` at most; pairs beside it have one value for all of them, or one for each.
    fn rows_of_file(&self, file: &Path, given: &[&Pair], max_rows: usize) -> Outcome<Rows> {
        let mut rows = all_rows(file, max_rows)?;
        let known: Vec<&str> = self.columns().map(|(name, _)| name.as_str()).collect();
        let unused: Vec<&str> = rows.names().filter(|name| !known.contains(name)).collect();
        if !unused.is_empty() {
            say(&format!("Columns of {} that these features do not need: {}", rows.file, unused.join(", ")));
        }
        let beside = self.rows_of_pairs(given)?;
        if beside.len > 1 && beside.len != rows.len {
            let (values, of) = (beside.len, counted(rows.len as u64, "row"));
            return Err(Failure::wrong(format!("{} has {of} and the arguments have {values} values", rows.file)));
        }
        for mut column in beside.columns {
            if rows.column(&column.name).is_some() {
                return Err(Failure::wrong(format!(
                    "{} is a column of {} and an argument, too",
                    column.name, rows.file
                )));
            }
            if let Cells::Untyped(cells) = &mut column.cells
                && let [cell] = cells.as_slice()
            {
                *cells = vec![cell.clone(); rows.len];
            }
            rows.columns.push(column);
        }
        Ok(rows)
    }

    /// Every join key, typed.
    fn entity_columns(&self, rows: &Rows) -> Outcome<Vec<(String, ArrayRef)>> {
        typed(rows, &self.entities, "join key")
    }

    fn request_columns(&self, rows: &Rows) -> Outcome<Vec<(String, ArrayRef)>> {
        typed(rows, &self.request, "request data")
    }
}

/// The rows of a file that has no more than `most` of them.
fn all_rows(path: &Path, most: usize) -> Outcome<Rows> {
    let name = path.display();
    let mut file = open(path, most)?;
    let rows = file.next(most)?.ok_or_else(|| Failure::wrong(format!("{name} has no rows")))?;
    if file.next(1)?.is_some() {
        let most = counted(most as u64, "row");
        return Err(Failure::wrong(format!("{name} has more than {most}, the most that can be asked for at once")));
    }
    Ok(rows)
}

fn typed(rows: &Rows, columns: &[(String, ValueType)], what: &str) -> Outcome<Vec<(String, ArrayRef)>> {
    let one = |(name, value_type): &(String, ValueType)| {
        let missing = || Failure::wrong(format!("{what} {name} ({value_type}) is missing: write {name}=value"));
        Ok((name.clone(), rows.typed(name, *value_type)?.ok_or_else(missing)?))
    };
    columns.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            entities: vec![("customer_id".to_owned(), pairs::TEXT)],
            request: vec![("loan_amount".to_owned(), larder_types::ScalarType::Float64.into())],
            spare: vec![],
        }
    }

    #[test]
    fn the_service_is_the_word_without_a_value() {
        let split = |texts: &[&str]| words(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let (service, pairs) = split(&["scoring", "customer_id=1"]).unwrap();
        assert_eq!(service.as_ref().map(Name::as_str), Some("scoring"));
        assert_eq!(pairs[0].name, "customer_id");
        assert!(split(&["customer_id=1"]).unwrap().0.is_none());
        assert!(split(&["a-b"]).is_err());
        assert!(
            split(&["scoring", "customer_id"]).unwrap_err().to_string().contains("`customer_id` is not name=value")
        );
    }

    #[test]
    fn columns_that_nothing_needs_or_that_are_missing_are_told() {
        let wanted = wanted();
        let wrong: Pair = "custmer_id=1".parse().unwrap();
        let error = wanted.rows_of_pairs(&[&wrong]).unwrap_err().to_string();
        assert!(error.contains("did you mean customer_id?"), "{error}");
        let right: Pair = "customer_id=a,b".parse().unwrap();
        let amount: Pair = "loan_amount=x".parse().unwrap();
        let rows = wanted.rows_of_pairs(&[&right]).unwrap();
        assert_eq!(wanted.entity_columns(&rows).unwrap()[0].1.len(), 2);
        let error = wanted.request_columns(&rows).unwrap_err().to_string();
        assert!(error.contains("request data loan_amount (float64) is missing"), "{error}");
        let rows = wanted.rows_of_pairs(&[&right, &amount]).unwrap();
        let error = wanted.request_columns(&rows).unwrap_err().to_string();
        assert!(error.contains("column loan_amount: \"x\" is not a value of type float64"), "{error}");
    }

    #[test]
    fn every_row_of_a_file_is_asked_for_or_none() {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("entities.csv", "customer_id\na\nb\nc\n"),
            ("entities.jsonl", "{\"customer_id\":\"a\"}\n".repeat(3).as_str()),
            ("entities.json", "[{\"customer_id\":\"a\"},{\"customer_id\":\"b\"},{\"customer_id\":\"c\"}]"),
        ] {
            let file = folder.path().join(file);
            std::fs::write(&file, text).unwrap();
            let read = |arguments: &[&str], most| {
                let pairs: Vec<Pair> = arguments.iter().map(|text| text.parse().unwrap()).collect();
                wanted().rows_of_file(&file, &pairs.iter().collect::<Vec<_>>(), most)
            };
            for amounts in ["loan_amount=1", "loan_amount=1,1,1"] {
                let rows = read(&[amounts], 3).unwrap();
                assert_eq!(wanted().request_columns(&rows).unwrap()[0].1.len(), 3);
            }
            for (arguments, most, message) in [
                (&[][..], 2, "has more than 2 rows, the most that can be asked for at once"),
                (&["loan_amount=1,2"], 3, "has 3 rows and the arguments have 2 values"),
                (&["customer_id=a"], 3, "customer_id is a column of "),
            ] {
                let error = read(arguments, most).unwrap_err().to_string();
                assert!(error.contains(message), "{error}");
            }
        }
    }
}

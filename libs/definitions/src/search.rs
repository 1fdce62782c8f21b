//! Search: words over names, descriptions, owners and tags, best first.

use std::{cmp::Reverse, collections::BTreeMap};

use larder_types::Name;

use crate::{Catalog, Metadata, Object, ObjectId};

/// An object, or a feature of one, that a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The object.
    pub object: ObjectId,
    /// One of its features; none: the object itself.
    pub feature: Option<Name>,
    /// What is said of it.
    pub description: String,
    /// The object's.
    pub owner: String,
    /// Greater is better; comparable within one search.
    pub score: u32,
}

/// The words of a catalog.
#[derive(Debug, Clone, Default)]
pub struct SearchIndex {
    documents: Vec<Document>,
    /// Documents by word, with the weight of where it stands.
    words: BTreeMap<String, Vec<(usize, u32)>>,
}

#[derive(Debug, Clone)]
struct Document {
    object: ObjectId,
    feature: Option<Name>,
    description: String,
    owner: String,
}

/// Weights of where a word stands.
const IN_NAME: u32 = 8;
const IN_TAG: u32 = 4;
const IN_OWNER: u32 = 3;
const IN_DESCRIPTION: u32 = 2;
const IN_PARENT: u32 = 1;
/// Added when the query is the whole name.
const WHOLE_NAME: u32 = 100;

impl SearchIndex {
    /// The words of a catalog.
    pub fn of(catalog: &Catalog) -> Self {
        let mut index = Self::default();
        for object in catalog.objects() {
            index.add_object(&object);
        }
        index
    }

    /// What has every word of the query, or words that begin with it, best first; at most `limit`.
    pub fn search(&self, query: &str, limit: usize) -> Vec<Hit> {
        let mut scores: Option<BTreeMap<usize, u32>> = None;
        for word in words(query) {
            let found = self.score_word(&word);
            scores = Some(match scores {
                None => found,
                Some(scores) => scores
                    .into_iter()
                    .filter_map(|(document, score)| Some((document, score + found.get(&document)?)))
                    .collect(),
            });
        }
        let whole = query.trim().to_lowercase();
        let mut hits: Vec<(Reverse<u32>, usize)> = scores
            .unwrap_or_default()
            .into_iter()
            .map(|(document, score)| {
                let is_whole = self.documents[document].name().to_lowercase() == whole;
                (Reverse(score + if is_whole { WHOLE_NAME } else { 0 }), document)
            })
            .collect();
        hits.sort_unstable();
        hits.into_iter().take(limit).map(|(Reverse(score), document)| self.documents[document].hit(score)).collect()
    }

    /// A whole word counts twice what its beginning does.
    fn score_word(&self, word: &str) -> BTreeMap<usize, u32> {
        let mut scores = BTreeMap::new();
        let beginning = self.words.range(word.to_owned()..).take_while(|(known, _)| known.starts_with(word));
        for (known, documents) in beginning {
            let factor = if known == word { 2 } else { 1 };
            for (document, weight) in documents {
                let score: &mut u32 = scores.entry(*document).or_default();
                *score = (*score).max(weight * factor);
            }
        }
        scores
    }

    fn add_object(&mut self, object: &Object) {
        let id = object.id();
        let metadata = object.metadata();
        let owner = metadata.owner.as_str();
        let document = self.add_document(Document {
            object: id.clone(),
            feature: None,
            description: metadata.description.clone(),
            owner: owner.to_owned(),
        });
        self.add_metadata(document, metadata);
        match object {
            Object::Entity(_) | Object::Source(_) | Object::FeatureService(_) => {}
            Object::FeatureView(view) => {
                for feature in &view.features {
                    let document = self.add_feature(&id, owner, &feature.name, &feature.description);
                    self.add_tags(document, &feature.tags);
                }
            }
            Object::OnDemandFeatureView(view) => {
                for feature in &view.features {
                    self.add_feature(&id, owner, &feature.name, &feature.description);
                }
            }
        }
    }

    fn add_feature(&mut self, view: &ObjectId, owner: &str, feature: &Name, description: &str) -> usize {
        let document = self.add_document(Document {
            object: view.clone(),
            feature: Some(feature.clone()),
            description: description.to_owned(),
            owner: owner.to_owned(),
        });
        self.add_words(document, view.name.as_str(), IN_PARENT);
        document
    }

    fn add_document(&mut self, document: Document) -> usize {
        let number = self.documents.len();
        self.add_words(number, document.name(), IN_NAME);
        self.add_words(number, &document.description, IN_DESCRIPTION);
        self.documents.push(document);
        number
    }

    fn add_metadata(&mut self, document: usize, metadata: &Metadata) {
        self.add_words(document, &metadata.owner, IN_OWNER);
        self.add_tags(document, &metadata.tags);
    }

    fn add_tags<'a>(&mut self, document: usize, tags: impl IntoIterator<Item = (&'a String, &'a String)>) {
        for (tag, value) in tags {
            self.add_words(document, tag, IN_TAG);
            self.add_words(document, value, IN_TAG);
        }
    }

    fn add_words(&mut self, document: usize, text: &str, weight: u32) {
        for word in words(text) {
            self.words.entry(word).or_default().push((document, weight));
        }
    }
}

impl Document {
    fn name(&self) -> &str {
        self.feature.as_ref().unwrap_or(&self.object.name).as_str()
    }

    fn hit(&self, score: u32) -> Hit {
        let Self { object, feature, description, owner } = self.clone();
        Hit { object, feature, description, owner, score }
    }
}

/// Lower-case runs of letters and digits: `debt_ratio` is two words.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

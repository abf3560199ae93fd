//! Merges settings layers with figment and tells for each value which layer won.

use std::collections::BTreeMap;

use figment::value::{Dict, Map, Value as FigmentValue};
use figment::{Figment, Metadata, Profile, Provider, Source};
use serde_json::Value;

use super::errors::Origin;
use super::layers::SettingsLayer;
use super::node::Node;

/// A layer as figment wants it; the index in the metadata leads back to the layer and its lines.
struct Indexed<'a> {
    index: usize,
    layer: &'a SettingsLayer,
}

impl Provider for Indexed<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::from(self.layer.origin.layer.name(), Source::Custom(self.index.to_string()))
    }
    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let value = FigmentValue::serialize(self.layer.node.to_json())?;
        let dict = value.into_dict().unwrap_or_default();
        Ok(Profile::Default.collect(dict))
    }
}

/// The merged settings and the origin of each leaf, by dotted key.
pub(crate) fn merge(layers: &[SettingsLayer]) -> Result<(Value, BTreeMap<String, Origin>), String> {
    let mut figment = Figment::new();
    for (index, layer) in layers.iter().enumerate() {
        figment = figment.merge(Indexed { index, layer });
    }
    let merged: Value = figment.extract().map_err(|error| error.to_string())?;
    let mut origins = BTreeMap::new();
    for path in Node::from_json(merged.clone()).leaves() {
        let key = path.join(".");
        let found = figment.find_metadata(&key).and_then(|m| m.source.as_ref());
        let index = found.and_then(Source::custom).and_then(|i| i.parse::<usize>().ok());
        if let Some(layer) = index.and_then(|i| layers.get(i)) {
            let parts: Vec<&str> = path.iter().map(String::as_str).collect();
            origins.insert(key, layer.origin.at(layer.node.line_of(&parts)));
        }
    }
    Ok((merged, origins))
}

//! Data files that were found and not written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Field, Type, Value};
use crate::error::{Error, Result};
use crate::id::FieldId;

/// The most bytes of a URL.
const URL_BYTES_MAX: usize = 4_096;

/// Where a data file is that an import adopted, and which columns of its table it has.
///
/// Such a file is read in place and never deleted. Its columns carry no ids of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adopted {
    /// The file: an absolute URL.
    pub url: String,
    /// The columns that it has, and the parts of nested ones, by their paths in the file's schema,
    /// with dots between names. Others of its columns are not read.
    pub columns: BTreeMap<String, FieldId>,
    /// Columns that all rows have one value of, since it is in the path and not in the file; NULL is
    /// none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<FieldId, PathValue>,
}

/// The value of a column that is in a file's path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathValue {
    /// The type that the column had when the file was adopted; it may have been widened since.
    #[serde(rename = "type")]
    pub ty: Type,
    /// The value; absent for NULL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

impl PathValue {
    /// The column as the rows of the file have it: this value stands for what the file lacks.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the column never had the type; `Invalid` if the value is none of the type that
    /// the column has become of.
    pub fn column(&self, field: &Field) -> Result<Field> {
        if self.ty != field.ty && !self.ty.widens_to(&field.ty) {
            return Err(Error::corrupt(
                "a value in the path of a file is not of its column's type",
            )
            .with("column", &field.name)
            .with("type", &self.ty)
            .with("expected", &field.ty));
        }
        let value = self.value.as_ref();
        let value = value.map(|value| value.widened(&self.ty, &field.ty));
        Ok(field.with_initial(value.transpose()?))
    }
}

impl Adopted {
    /// Checks what can be checked without reading the file.
    ///
    /// # Errors
    ///
    /// `Corrupt`, saying what is wrong.
    pub(super) fn validate(&self) -> Result<()> {
        let refuse = |why: &str| Err(Error::corrupt(why.to_owned()).with("url", &self.url));
        if self.url.len() > URL_BYTES_MAX || !self.url.contains("://") {
            return refuse("an adopted file has no URL");
        }
        let ids = self.columns.values().chain(self.values.keys());
        let mut ids = ids.copied().collect::<Vec<_>>();
        ids.sort_unstable();
        if ids.windows(2).any(|two| two[0] == two[1]) {
            return refuse("an adopted file has a column twice");
        }
        if ids.is_empty() {
            return refuse("an adopted file has no columns");
        }
        for value in self.values.values() {
            if Value::array(&value.ty.to_arrow(), [value.value.as_ref()]).is_err() {
                return refuse("a value in the path of an adopted file is not of its type");
            }
        }
        Ok(())
    }
}

//! The columns that say of each row where it is stored, and what it was when it was first stored.
//!
//! They follow the table's own columns in the order in which DataFusion's Parquet scan has them:
//! what a file can hold, what is the same for all rows of a file, what the reader makes.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::datasource::table_schema::TableSchema;
use parquet::arrow::RowNumber;
use udr_core::data::identity_fields;
use udr_core::format::DataFile;

/// The file that a row is in: a number that the statement's pin gave it, or its id.
pub(crate) const FILE: &str = "_udr_file";
/// The position of a row in its file.
pub(crate) const ROW: &str = "_udr_row";
/// The version that added the file that a row is in.
const FILE_VERSION: &str = "_udr_file_version";
/// The id of a row, in `t$rows`.
pub(crate) const ROW_ID: &str = "_row_id";
/// The place of the commit that gave a row the values it has, in the order of all that led to a
/// state; strictly ascending from commit to commit.
pub(crate) const COMMIT_SEQUENCE: &str = "_commit_sequence";

/// How many identity columns a file can have.
pub(super) const IDENTITY: usize = 3;

/// What a scan gives of each row besides the table's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowColumns {
    /// Nothing.
    None,
    /// Where it is stored, in files that the statement's pin numbers.
    Place,
    /// Its file's id and version.
    Origin,
}

impl RowColumns {
    /// The columns of a scan of a table with these columns.
    pub(super) fn schema(self, columns: &SchemaRef) -> TableSchema {
        let constants = match self {
            Self::None => return TableSchema::from(columns),
            Self::Place => vec![field(FILE, DataType::UInt32, false)],
            Self::Origin => vec![
                field(FILE, DataType::FixedSizeBinary(16), false),
                field(FILE_VERSION, DataType::UInt64, true),
            ],
        };
        let identity = identity_fields();
        let fields = columns.fields().iter().cloned();
        let fields = fields.chain(identity.into_iter().map(Arc::new));
        let file_schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let row = Field::new(ROW, DataType::Int64, false).with_extension_type(RowNumber);
        TableSchema::builder(file_schema)
            .with_table_partition_cols(constants)
            .with_virtual_columns(vec![Arc::new(row)])
            .build()
    }

    /// What is the same for all rows of a file, which has this number.
    pub(super) fn constants(self, file: &DataFile, number: u32) -> Vec<ScalarValue> {
        match self {
            Self::None => Vec::new(),
            Self::Place => vec![ScalarValue::UInt32(Some(number))],
            Self::Origin => vec![
                ScalarValue::FixedSizeBinary(16, Some(file.id.as_bytes().to_vec())),
                ScalarValue::UInt64((file.added_at > 0).then_some(file.added_at)),
            ],
        }
    }
}

fn field(name: &str, data_type: DataType, nullable: bool) -> FieldRef {
    Arc::new(Field::new(name, data_type, nullable))
}

/// The columns that `t$rows` has after those of the table.
pub(super) fn origin_fields() -> &'static [FieldRef; 2] {
    static FIELDS: LazyLock<[FieldRef; 2]> = LazyLock::new(|| {
        [
            field(ROW_ID, DataType::FixedSizeBinary(24), false),
            field(COMMIT_SEQUENCE, DataType::UInt64, true),
        ]
    });
    &FIELDS
}

/// The names of the columns that say where a row is and what it was first, as the input of a
/// change begins with them.
pub(crate) fn place_names() -> &'static [String; 4] {
    static NAMES: LazyLock<[String; 4]> = LazyLock::new(|| {
        let [file, position, _] = identity_fields();
        [
            FILE.to_owned(),
            ROW.to_owned(),
            file.name().clone(),
            position.name().clone(),
        ]
    });
    &NAMES
}

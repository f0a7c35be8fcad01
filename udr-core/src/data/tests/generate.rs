//! Random rows that sit on the edges of their types.

use std::sync::Arc;

use arrow::array::{
    ArrayData, ArrayRef, AsArray as _, BinaryViewArray, BooleanArray, FixedSizeBinaryArray,
    FixedSizeListArray, ListArray, MapArray, PrimitiveArray, RecordBatch, StringViewArray,
    StructArray, make_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Decimal256Type, Field, Float64Type,
    Schema as ArrowSchema, i256,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Makes values that sit on the edges of their types more often than not.
struct Generator {
    rng: StdRng,
    nulls: f64,
    nan: bool,
}

impl Generator {
    fn native<T: ArrowPrimitiveType>(
        &mut self,
        edges: &[T::Native],
        value: impl Fn(&mut StdRng) -> T::Native,
        rows: usize,
    ) -> ArrayRef {
        let pick = |g: &mut Self| match g.rng.random_bool(0.5) {
            true => edges[g.rng.random_range(0..edges.len())],
            false => value(&mut g.rng),
        };
        Arc::new(
            (0..rows)
                .map(|_| Some(pick(self)))
                .collect::<PrimitiveArray<T>>(),
        )
    }

    fn text(&mut self) -> String {
        let c = [
            'a',
            '\u{7f}',
            'é',
            '\u{7ff}',
            '\u{d7ff}',
            '\u{ffff}',
            '\u{10ffff}',
        ][self.rng.random_range(0..7_usize)];
        let length = [0, 1, 5, 12, 13, 63, 64, 65, 200][self.rng.random_range(0..9_usize)];
        let mut text: String = std::iter::repeat_n(c, length).collect();
        if self.rng.random_bool(0.5) {
            text.push('z');
        }
        text
    }

    fn bytes(&mut self, length: Option<usize>) -> Vec<u8> {
        let length = length.unwrap_or([0, 1, 63, 64, 65, 200][self.rng.random_range(0..6_usize)]);
        let fill = [0, 1, 0x7f, 0x80, 0xff][self.rng.random_range(0..5_usize)];
        let mut bytes = vec![fill; length];
        if let Some(last) = bytes.last_mut()
            && self.rng.random_bool(0.5)
        {
            *last = self.rng.random();
        }
        bytes
    }

    fn integers(&mut self, ty: &DataType, rows: usize) -> ArrayRef {
        let width = ty.primitive_width().unwrap();
        let (least, greatest) = match ty {
            _ if ty.is_unsigned_integer() => (0, (1_i128 << (8 * width)) - 1),
            // Times of day.
            DataType::Time32(_) | DataType::Time64(_) => (0, 86_399),
            // Whole days in milliseconds.
            _ => (
                -(1_i128 << (8 * width - 1)),
                (1_i128 << (8 * width - 1)) - 1,
            ),
        };
        let wide = self.native::<Decimal128Type>(
            &[least, greatest, least.max(-1), 0, 1],
            |rng| rng.random_range(-1_000..1_000_i128).clamp(least, greatest),
            rows,
        );
        let values = wide.as_primitive::<Decimal128Type>().values().iter();
        let bytes: Vec<u8> = values
            .flat_map(|v| v.to_le_bytes().into_iter().take(width))
            .collect();
        let data = ArrayData::builder(ty.clone())
            .len(rows)
            .add_buffer(bytes.into());
        make_array(data.align_buffers(true).build().unwrap())
    }

    fn floats(&mut self, ty: &DataType, rows: usize) -> ArrayRef {
        let mut edges = vec![0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, 1.5, -1.5];
        if self.nan {
            edges.push(f64::NAN);
        }
        let wide = self.native::<Float64Type>(&edges, |rng| rng.random_range(-1e4..1e4), rows);
        cast(&wide, ty).unwrap()
    }

    fn flat(&mut self, ty: &DataType, rows: usize) -> ArrayRef {
        match ty {
            DataType::Boolean => Arc::new(
                (0..rows)
                    .map(|_| Some(self.rng.random_bool(0.8)))
                    .collect::<BooleanArray>(),
            ),
            DataType::Float16 | DataType::Float32 | DataType::Float64 => self.floats(ty, rows),
            DataType::Decimal128(p, s) => {
                let most = 10_i128.pow(u32::from(*p)) - 1;
                let edges = [most, -most, 0, -1];
                let array =
                    self.native::<Decimal128Type>(&edges, |r| r.random_range(-99..99), rows);
                let array = array.as_primitive::<Decimal128Type>().clone();
                Arc::new(array.with_precision_and_scale(*p, *s).unwrap())
            }
            DataType::Decimal256(p, s) => {
                let most = i256::from_i128(10).wrapping_pow(u32::from(*p)) - i256::ONE;
                let edges = [most, i256::ZERO - most];
                let small = |r: &mut StdRng| i256::from_i128(r.random_range(-99..99));
                let array = self.native::<Decimal256Type>(&edges, small, rows);
                let array = array.as_primitive::<Decimal256Type>().clone();
                Arc::new(array.with_precision_and_scale(*p, *s).unwrap())
            }
            DataType::Utf8View => Arc::new(
                (0..rows)
                    .map(|_| Some(self.text()))
                    .collect::<StringViewArray>(),
            ),
            DataType::BinaryView => Arc::new(
                (0..rows)
                    .map(|_| Some(self.bytes(None)))
                    .collect::<BinaryViewArray>(),
            ),
            DataType::FixedSizeBinary(size) => {
                let length = usize::try_from(*size).unwrap();
                let values: Vec<_> = (0..rows).map(|_| Some(self.bytes(Some(length)))).collect();
                let array =
                    FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), *size);
                Arc::new(array.unwrap())
            }
            _ => self.integers(ty, rows),
        }
    }

    fn nulls(&mut self, nullable: bool, rows: usize) -> Option<NullBuffer> {
        let nulls = self.nulls;
        (nullable && nulls > 0.0).then(|| {
            (0..rows)
                .map(|_| !self.rng.random_bool(nulls))
                .collect::<Vec<_>>()
                .into()
        })
    }

    fn array(&mut self, field: &Field, rows: usize) -> ArrayRef {
        let nulls = self.nulls(field.is_nullable(), rows);
        let offsets = |rng: &mut StdRng| {
            OffsetBuffer::<i32>::from_lengths((0..rows).map(|_| rng.random_range(0..4)))
        };
        match field.data_type() {
            DataType::Struct(fields) => {
                let columns = fields.iter().map(|f| self.array(f, rows)).collect();
                Arc::new(StructArray::new(fields.clone(), columns, nulls))
            }
            DataType::List(element) => {
                let offsets = offsets(&mut self.rng);
                let values =
                    self.array(element, usize::try_from(*offsets.last().unwrap()).unwrap());
                Arc::new(ListArray::new(Arc::clone(element), offsets, values, nulls))
            }
            DataType::FixedSizeList(element, size) => {
                let values = self.array(element, rows * usize::try_from(*size).unwrap());
                Arc::new(FixedSizeListArray::new(
                    Arc::clone(element),
                    *size,
                    values,
                    nulls,
                ))
            }
            DataType::Map(entries, sorted) => {
                let offsets = offsets(&mut self.rng);
                let values =
                    self.array(entries, usize::try_from(*offsets.last().unwrap()).unwrap());
                let values = values.as_struct().clone();
                Arc::new(MapArray::new(
                    Arc::clone(entries),
                    offsets,
                    values,
                    nulls,
                    *sorted,
                ))
            }
            flat => {
                let array = self.flat(flat, rows);
                make_array(array.to_data().into_builder().nulls(nulls).build().unwrap())
            }
        }
    }
}

/// Rows of `schema`, the same for the same seed.
pub(super) fn generate(schema: &ArrowSchema, seed: u64, rows: usize) -> RecordBatch {
    let mut rng = StdRng::seed_from_u64(seed);
    let nulls = [0.0, 0.2, 0.9, 1.0][rng.random_range(0..4_usize)];
    let nan = rng.random_bool(0.5);
    let mut generator = Generator { rng, nulls, nan };
    let columns = schema
        .fields()
        .iter()
        .map(|f| generator.array(f, rows))
        .collect();
    RecordBatch::try_new(Arc::new(schema.clone()), columns).unwrap()
}

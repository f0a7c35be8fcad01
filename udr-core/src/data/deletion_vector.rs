//! Which rows of a data file are deleted.
//!
//! The stored form is the body of the `deletion-vector-v1` blob that Iceberg v3 (Puffin spec) and
//! Delta (protocol, "Deletion Vectors") share: length, magic number, 64-bit Roaring bitmap in the
//! portable serialisation, CRC-32.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use parquet::arrow::arrow_reader::RowSelection;
use roaring::{RoaringBitmap, RoaringTreemap};

use crate::error::{Error, Result};
use crate::format::DeletionVectorRef;
use crate::id::TableId;
use crate::store::Store;

/// Begins the part that the checksum covers.
const MAGIC: [u8; 4] = [0xD1, 0xD3, 0x39, 0x64];
/// The length before the magic number and the checksum after the bitmap.
const LENGTH_BYTES: usize = 4;
const CHECKSUM_BYTES: usize = 4;

/// Positions of rows in one data file, from 0 on.
#[derive(Clone, Default, PartialEq)]
pub struct DeletionVector(RoaringTreemap);

impl DeletionVector {
    /// No positions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a position; false if it was there.
    pub fn insert(&mut self, position: u64) -> bool {
        self.0.insert(position)
    }

    /// Takes a position out; false if it was not there.
    pub fn remove(&mut self, position: u64) -> bool {
        self.0.remove(position)
    }

    /// Whether a position is there.
    pub fn contains(&self, position: u64) -> bool {
        self.0.contains(position)
    }

    /// How many positions there are.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The greatest position.
    pub fn max(&self) -> Option<u64> {
        self.0.max()
    }

    /// The positions, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter()
    }

    /// Adds the positions of `other`.
    pub fn union_with(&mut self, other: &Self) {
        self.0 |= &other.0;
    }

    /// The positions that both have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(&self.0 & &other.0)
    }

    /// The positions that `other` does not have.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self(&self.0 - &other.0)
    }

    /// Adds all positions of a range.
    pub(crate) fn insert_range(&mut self, positions: Range<u64>) {
        self.0.insert_range(positions);
    }

    /// The positions, ascending, for who keeps them.
    pub(crate) fn into_positions(self) -> impl Iterator<Item = u64> + Send {
        self.0.into_iter()
    }

    /// The rows of a file of `rows` rows that are at these positions, as a reader is told.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the file has more rows than can be addressed here.
    pub(super) fn selection(&self, rows: u64) -> Result<RowSelection> {
        let size = |rows: u64| {
            usize::try_from(rows)
                .map_err(|e| Error::unsupported("a data file is too large").with_source(e))
        };
        let mut runs: Vec<Range<usize>> = Vec::new();
        for position in self.iter() {
            let position = size(position)?;
            match runs.last_mut() {
                Some(run) if run.end == position => run.end += 1,
                _ => runs.push(position..position + 1),
            }
        }
        let runs = runs.into_iter();
        Ok(RowSelection::from_consecutive_ranges(runs, size(rows)?))
    }

    /// The stored form. Equal vectors have equal bytes.
    ///
    /// # Panics
    ///
    /// Never: writing to memory does not fail.
    pub fn encode(&self) -> Bytes {
        let mut bitmap = self.0.clone();
        // The smallest kind of container for what is in it, however it came to be.
        bitmap.optimize();
        let body = MAGIC.len() + bitmap.serialized_size();
        let mut bytes = Vec::with_capacity(LENGTH_BYTES + body + CHECKSUM_BYTES);
        // What is too long for the length is too large for the store.
        let length = u32::try_from(body).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&to_be(length));
        bytes.extend_from_slice(&MAGIC);
        #[expect(
            clippy::expect_used,
            reason = "a vector of bytes takes all it is given"
        )]
        bitmap
            .serialize_into(&mut bytes)
            .expect("writing to memory does not fail");
        let checksum = crc32fast::hash(&bytes[LENGTH_BYTES..]);
        bytes.extend_from_slice(&to_be(checksum));
        bytes.into()
    }

    /// Reads the stored form of a vector over a file of `rows` rows (invariant 6).
    ///
    /// # Errors
    ///
    /// `Corrupt` if it is not one, or has a position past the file.
    pub fn decode(bytes: &Bytes, rows: u64) -> Result<Self> {
        let corrupt = |why: &str| Error::corrupt(why.to_owned());
        let framed = bytes
            .split_first_chunk::<LENGTH_BYTES>()
            .and_then(|(length, rest)| Some((length, rest.split_last_chunk::<CHECKSUM_BYTES>()?)));
        let Some((length, (body, checksum))) = framed else {
            return Err(corrupt("a deletion vector is too short"));
        };
        if usize::try_from(from_be(*length)) != Ok(body.len()) {
            return Err(corrupt("a deletion vector has another length than it says"));
        }
        if crc32fast::hash(body) != from_be(*checksum) {
            return Err(corrupt("the checksum of a deletion vector is wrong"));
        }
        let Some(bitmap) = body.strip_prefix(&MAGIC) else {
            return Err(corrupt("not a deletion vector"));
        };
        let vector = Self(decode_bitmap(bitmap)?);
        match vector.max() {
            Some(last) if last >= rows => Err(corrupt(
                "a deletion vector has a position past its data file",
            )
            .with("position", last)
            .with("rows", rows)),
            _ => Ok(vector),
        }
    }

    /// Reads the vector that `reference` names, of a file of `rows` rows.
    ///
    /// # Errors
    ///
    /// `Corrupt`, naming the object, if it is missing, damaged, or not what `reference` says;
    /// `Unavailable`.
    pub async fn read(
        store: &Store,
        table: TableId,
        reference: &DeletionVectorRef,
        rows: u64,
    ) -> Result<Self> {
        let name = |error: Error| error.with("deletion_vector", reference.object.digest);
        let bytes = store
            .get_deletion_vector(table, &reference.object)
            .await
            .map_err(name)?;
        let vector = Self::decode(&bytes, rows).map_err(name)?;
        if vector.len() != reference.rows {
            return Err(name(
                Error::corrupt("a deletion vector has another number of rows than its entry")
                    .with("entry", reference.rows)
                    .with("vector", vector.len()),
            ));
        }
        Ok(vector)
    }
}

impl FromIterator<u64> for DeletionVector {
    fn from_iter<I: IntoIterator<Item = u64>>(positions: I) -> Self {
        Self(positions.into_iter().collect())
    }
}

impl fmt::Debug for DeletionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeletionVector")
            .field("len", &self.len())
            .field("max", &self.max())
            .finish()
    }
}

/// A number of 32-bit bitmaps, then each with the high half of its positions before it, ascending.
fn decode_bitmap(bytes: &[u8]) -> Result<RoaringTreemap> {
    let corrupt = || Error::corrupt("the bitmap of a deletion vector cannot be read");
    let (count, mut rest) = bytes.split_first_chunk::<8>().ok_or_else(corrupt)?;
    let count = u64::from_le_bytes(*count);
    let mut bitmaps = Vec::new();
    let mut before = None;
    for _ in 0..count {
        let (high, bitmap) = rest.split_first_chunk::<4>().ok_or_else(corrupt)?;
        let high = u32::from_le_bytes(*high);
        rest = bitmap;
        let bitmap = RoaringBitmap::deserialize_from(&mut rest).map_err(|e| {
            Error::corrupt("the bitmap of a deletion vector cannot be read").with_source(e)
        })?;
        if before.is_some_and(|before| before >= high) || bitmap.is_empty() {
            return Err(corrupt());
        }
        before = Some(high);
        bitmaps.push((high, bitmap));
    }
    if !rest.is_empty() {
        return Err(corrupt());
    }
    Ok(RoaringTreemap::from_bitmaps(bitmaps))
}

#[expect(
    clippy::big_endian_bytes,
    reason = "the blob's length and checksum are"
)]
fn to_be(value: u32) -> [u8; 4] {
    value.to_be_bytes()
}

#[expect(
    clippy::big_endian_bytes,
    reason = "the blob's length and checksum are"
)]
fn from_be(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// Three rows, as both specifications lay them out; put together by hand, the checksum by
    /// another program.
    const BLOB: [u8; 46] = [
        0x00, 0x00, 0x00, 0x26, // 38 bytes of magic number and bitmap, most significant first
        0xD1, 0xD3, 0x39, 0x64, // magic number
        0x01, 0, 0, 0, 0, 0, 0, 0, // one 32-bit bitmap
        0, 0, 0, 0, // the high half of its positions
        0x3A, 0x30, 0, 0, // no run containers
        0x01, 0, 0, 0, // one container
        0, 0, 0x02, 0, // its positions start with 0; three of them
        0x10, 0, 0, 0, // where it is in the bitmap
        0x01, 0, 0x05, 0, 0x07, 0, // positions 1, 5, 7
        0x4D, 0xC3, 0x60, 0x67, // CRC-32 of what follows the length, most significant first
    ];

    #[test]
    fn the_stored_form_is_the_one_that_iceberg_and_delta_share() {
        let vector = [1, 5, 7].into_iter().collect::<DeletionVector>();
        assert_eq!(vector.encode().as_ref(), BLOB);
        assert_eq!(
            DeletionVector::decode(&Bytes::from_static(&BLOB), 8).unwrap(),
            vector
        );
    }

    #[test]
    fn a_vector_survives_encoding_whatever_containers_it_takes() {
        let sets: [Vec<u64>; 6] = [
            vec![0],
            (0..100_000).collect(),
            (0..200_000).step_by(3).collect(),
            (65_530..65_545).chain(1 << 20..(1 << 20) + 9).collect(),
            vec![7, (1 << 32) + 1, (5 << 32) + 9],
            (0..10_000).step_by(2).chain(20_000..90_000).collect(),
        ];
        for positions in sets {
            let rows = positions.last().unwrap() + 1;
            let vector = positions.iter().copied().collect::<DeletionVector>();
            let bytes = vector.encode();
            let again = DeletionVector::decode(&bytes, rows).unwrap();
            assert_eq!(again, vector);
            assert!(again.iter().eq(positions.iter().copied()));
            assert_eq!(again.encode(), bytes, "the bytes depend on the rows alone");
            let mut grown = DeletionVector::new();
            for position in positions.iter().rev() {
                assert!(grown.insert(*position));
            }
            assert_eq!(grown.encode(), bytes);
            let refused = DeletionVector::decode(&bytes, rows - 1).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn the_set_operations_are_those_of_sets() {
        let mut a = (0..10).collect::<DeletionVector>();
        let b = (5..15).collect::<DeletionVector>();
        assert!(a.intersection(&b).iter().eq(5..10));
        a.union_with(&b);
        assert!(a.iter().eq(0..15));
        assert_eq!((a.len(), a.max()), (15, Some(14)));
        assert!(!a.insert(3) && a.remove(3) && !a.contains(3) && a.contains(4));
        assert!(DeletionVector::new().is_empty());
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let good = [3, 70_000, 70_001]
            .into_iter()
            .collect::<DeletionVector>()
            .encode();
        for at in 0..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 0x41;
            let error = DeletionVector::decode(&bad.into(), 1 << 20).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}");
        }
        for end in 0..good.len() {
            let error = DeletionVector::decode(&good.slice(..end), 1 << 20).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "cut at {end}");
        }
    }

    #[test]
    fn bitmaps_out_of_order_empty_or_followed_by_more_are_refused() {
        let framed = |bitmap: &[u8]| {
            let body = [&MAGIC[..], bitmap].concat();
            let mut bytes = to_be(u32::try_from(body.len()).unwrap()).to_vec();
            bytes.extend_from_slice(&body);
            bytes.extend_from_slice(&to_be(crc32fast::hash(&body)));
            Bytes::from(bytes)
        };
        let one = |high: u32, positions: &[u32]| {
            let mut bytes = high.to_le_bytes().to_vec();
            let bitmap = positions.iter().copied().collect::<RoaringBitmap>();
            bitmap.serialize_into(&mut bytes).unwrap();
            bytes
        };
        let count = |n: u64| n.to_le_bytes().to_vec();
        let good = [count(2), one(0, &[1]), one(1, &[1])].concat();
        assert_eq!(
            DeletionVector::decode(&framed(&good), u64::MAX)
                .unwrap()
                .len(),
            2
        );
        for bad in [
            [count(2), one(1, &[1]), one(0, &[1])].concat(),
            [count(2), one(1, &[1]), one(1, &[2])].concat(),
            [count(1), one(0, &[])].concat(),
            [count(1), one(0, &[1]), vec![0]].concat(),
            [count(u64::MAX), one(0, &[1])].concat(),
        ] {
            let error = DeletionVector::decode(&framed(&bad), u64::MAX).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
}

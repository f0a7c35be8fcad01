//! Where things are: the only place that spells a path.
//!
//! In: typed ids and names. Out: paths below the repository's root, and back. Called by the rest
//! of `store`. See the spec, "What is stored".

use object_store::path::Path;

use crate::id::{Digest, Epoch, RecordNumber, TableId};
use crate::name::RefName;

use super::RefKind;

/// The digits of a record's name, so that names sort as numbers do.
const NUMBER_DIGITS: usize = 20;
/// The hex digits of a digest.
const DIGEST_DIGITS: usize = 64;
/// The hex digits of a digest that name its shard folder.
const SHARD_DIGITS: usize = 2;

/// Between the parts of a ref's name, in the name of its folder; no part can have it. All refs are
/// folders of one folder, so that listing them lists none of their records.
const PART_SEPARATOR: &str = "!";

/// Spells paths below one root.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: Path,
}

impl Layout {
    pub(super) fn new(root: Path) -> Self {
        Self { root }
    }

    fn at(&self, parts: &[&str]) -> Path {
        parts
            .iter()
            .fold(self.root.clone(), |path, part| path.join(*part))
    }

    pub(super) fn repository(&self) -> Path {
        self.at(&["udr.json"])
    }

    /// Where a probe of the store writes; `id` is unique to it.
    pub(super) fn probe(&self, id: &str) -> Path {
        self.at(&[&format!("probe-{id}")])
    }

    pub(super) fn objects(&self) -> Path {
        self.at(&["objects"])
    }

    pub(super) fn object(&self, epoch: Epoch, digest: &Digest) -> Path {
        let hex = digest.to_hex();
        let (shard, rest) = hex.split_at(SHARD_DIGITS);
        self.at(&["objects", &epoch.to_string(), shard, rest])
    }

    /// The folder of the objects of an epoch folder whose digests start with `hex`.
    pub(super) fn shard(&self, epoch: Epoch, hex: &str) -> Path {
        let shard = hex.get(..SHARD_DIGITS).unwrap_or(hex);
        self.at(&["objects", &epoch.to_string(), shard])
    }

    /// The epoch that a folder of [`Layout::objects`] is for.
    pub(super) fn epoch_of(folder: &Path) -> Option<Epoch> {
        let name = folder.filename()?;
        let epoch = name.parse().map(Epoch).ok()?;
        (epoch.to_string() == name).then_some(epoch)
    }

    /// The digest of the object at `path`, in its shard folder.
    pub(super) fn digest_of(path: &Path) -> Option<Digest> {
        let mut parts = path.as_ref().rsplit('/');
        let rest = parts.next()?;
        let shard = parts.next()?;
        (rest.len() == DIGEST_DIGITS - SHARD_DIGITS).then_some(())?;
        format!("{shard}{rest}").parse().ok()
    }

    pub(super) fn data_folder(&self, table: TableId, epoch: Epoch) -> Path {
        self.at(&["data", &table.to_string(), &epoch.to_string()])
    }

    pub(super) fn data_file(&self, table: TableId, epoch: Epoch, digest: &Digest) -> Path {
        self.data_folder(table, epoch)
            .join(format!("{digest}.parquet"))
    }

    pub(super) fn deletion_vector(&self, table: TableId, epoch: Epoch, digest: &Digest) -> Path {
        self.data_folder(table, epoch).join(format!("{digest}.dv"))
    }

    pub(super) fn refs(&self, kind: RefKind) -> Path {
        let folder = match kind {
            RefKind::Branch => "heads",
            RefKind::Tag => "tags",
        };
        self.at(&["refs", folder])
    }

    pub(super) fn ref_folder(&self, kind: RefKind, name: &RefName) -> Path {
        self.refs(kind)
            .join(name.folded().replace('/', PART_SEPARATOR))
    }

    pub(super) fn record(&self, kind: RefKind, name: &RefName, number: RecordNumber) -> Path {
        let file = format!("{:0width$}.json", number.0, width = NUMBER_DIGITS);
        self.ref_folder(kind, name).join(file)
    }

    /// The number of the record at `path`; nothing for a hint or a stranger.
    pub(super) fn number_of(path: &Path) -> Option<RecordNumber> {
        let digits = path.filename()?.strip_suffix(".json")?;
        let plain = digits.len() == NUMBER_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
        plain
            .then(|| digits.parse().ok().map(RecordNumber))
            .flatten()
            .filter(|number| *number <= RecordNumber::MAX)
    }

    /// The ref whose folder, in [`Layout::refs`], is `path`.
    pub(super) fn ref_of(path: &Path) -> Option<RefName> {
        let name = RefName::new(path.filename()?.replace(PART_SEPARATOR, "/")).ok()?;
        (name.folded() == name.as_str()).then_some(name)
    }

    /// Beside the records; no record and no part of a ref's name can be called that.
    pub(super) fn hint(&self, kind: RefKind, name: &RefName) -> Path {
        self.ref_folder(kind, name).join("hint.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_spelled_as_the_spec_says() {
        let layout = Layout::new(Path::from("a/b"));
        let digest = Digest::of(b"x");
        let hex = digest.to_hex();
        let object = layout.object(Epoch(3), &digest);
        assert_eq!(
            object.as_ref(),
            format!("a/b/objects/3/{}/{}", &hex[..2], &hex[2..])
        );
        assert_eq!(Layout::digest_of(&object), Some(digest));
        assert_eq!(
            layout.shard(Epoch(3), &hex[..5]).as_ref(),
            format!("a/b/objects/3/{}", &hex[..2])
        );

        let name = RefName::new("Feature/Prices").unwrap();
        let record = layout.record(RefKind::Branch, &name, RecordNumber(42));
        assert_eq!(
            record.as_ref(),
            "a/b/refs/heads/feature!prices/00000000000000000042.json"
        );
        assert_eq!(Layout::number_of(&record), Some(RecordNumber(42)));
        let folder = layout.ref_folder(RefKind::Branch, &name);
        assert_eq!(Layout::ref_of(&folder).unwrap().as_str(), "feature/prices");
        assert_eq!(Layout::ref_of(&Path::from("a/b/refs/heads/Main")), None);
    }

    #[test]
    fn strangers_are_not_taken_for_records_objects_or_epochs() {
        for stranger in [
            "hint.json",
            "42.json",
            "0000000000000000004x.json",
            "18446744073709551615.json",
            "00000000000000000042",
        ] {
            assert_eq!(Layout::number_of(&Path::from(stranger)), None, "{stranger}");
        }
        assert_eq!(Layout::digest_of(&Path::from("ab/cd")), None);
        assert_eq!(Layout::epoch_of(&Path::from("objects/007")), None);
        assert_eq!(Layout::epoch_of(&Path::from("objects/7")), Some(Epoch(7)));
    }
}

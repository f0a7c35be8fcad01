//! Which data files are known to obey which rules.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use udr_core::format::DataFile;
use udr_core::id::FileId;

use crate::constraint::RuleBasis;

/// The most files that are remembered; those forgotten are checked again when they are staged.
const FILES_MAX: usize = 65_536;

/// The files that a session wrote row by row under rules.
#[derive(Debug, Default)]
pub(super) struct CheckedFiles {
    rules: HashMap<FileId, Arc<RuleBasis>>,
    /// The files in the order in which they are forgotten.
    order: VecDeque<FileId>,
}

impl CheckedFiles {
    pub(super) fn remember(&mut self, files: &[DataFile], rules: &Arc<RuleBasis>) {
        for file in files {
            self.rules.insert(file.id, Arc::clone(rules));
            self.order.push_back(file.id);
        }
        while self.order.len() > FILES_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.rules.remove(&oldest);
            }
        }
    }

    pub(super) fn is_checked(&self, file: &DataFile, rules: &RuleBasis) -> bool {
        let known = self.rules.get(&file.id);
        known.is_some_and(|known| known.as_ref() == rules)
    }
}

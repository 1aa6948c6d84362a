//! The SDKs that this binary brings: files beside a projection's source, in a
//! folder that is not the author's.

use std::fs;
use std::path::{Path, PathBuf};

use super::BuildError;

/// The folder, in a projection's directory.
pub(super) const FOLDER: &str = ".gnomon";

/// Writes the files of an SDK into a projection's directory and gives their
/// folder. What is there already is left as it is.
pub(super) fn write(directory: &Path, files: &[(&str, &str)]) -> Result<PathBuf, BuildError> {
    let folder = directory.join(FOLDER);
    for (name, text) in files {
        let file = folder.join(name);
        if fs::read(&file).is_ok_and(|there| there == text.as_bytes()) {
            continue;
        }
        let parent = file.parent().unwrap_or(&folder);
        fs::create_dir_all(parent).map_err(BuildError::writing(parent))?;
        fs::write(&file, text).map_err(BuildError::writing(&file))?;
    }
    Ok(folder)
}

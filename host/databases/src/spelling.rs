//! Names that somebody spelt wrongly, and which one was meant.

/// `; did you mean …?` where one of the names is near, else nothing.
pub fn suggestion<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    near(name, names).map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// The name that a wrong one is most likely to mean.
pub fn near<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const NEAR: f64 = 0.85;
    // Similarity takes quadratic time, and no name is as long as this.
    const NAME_BYTES_MAX: usize = 200;
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    names
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= NEAR)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

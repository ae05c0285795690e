//! Parameters out of the query and, where there is one, the form.

use std::collections::BTreeMap;

use crate::protocol::{
    Parameter, Problem,
    chunks::{FILENAME_BYTES_MAX, QUERY_BYTES_MAX, TOTAL_MAX},
    headers::decimal,
};
use crate::upload::{
    ChunkCount, ChunkIndex, ChunkSize, Length, OutOfRange, Sha256Digest, UploadHash, UploadId,
};

/// The parameters of one request. Unknown ones are not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(BTreeMap<Parameter, String>);

impl Params {
    /// Reads a query (`application/x-www-form-urlencoded`).
    ///
    /// Above [`QUERY_BYTES_MAX`]: [`Problem::UriTooLong`]. A parameter of ours that comes twice,
    /// even with one value: [`Problem::InvalidParameter`].
    pub fn from_query(query: Option<&str>) -> Result<Self, Problem> {
        let query = query.unwrap_or_default();
        if query.len() > QUERY_BYTES_MAX {
            return Err(Problem::UriTooLong);
        }
        Self::once(form_urlencoded::parse(query.as_bytes()))
    }

    /// Adds the fields of a form. A parameter may stand in both places if both say the same, since
    /// some clients send each parameter twice.
    pub fn with_form<N, V>(
        mut self,
        fields: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, Problem>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        for (name, value) in Self::once(fields)?.0 {
            match self.0.insert(name, value.clone()) {
                Some(old) if old != value => {
                    return Err(invalid(name, "the query and the form say different things"));
                }
                _ => {}
            }
        }
        Ok(self)
    }

    fn once<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, Problem>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut params = BTreeMap::new();
        for (name, value) in pairs {
            let known = Parameter::ALL.into_iter().find(|known| known.as_str() == name.as_ref());
            if let Some(known) = known
                && params.insert(known, value.as_ref().to_owned()).is_some()
            {
                return Err(invalid(known, "it may come only once"));
            }
        }
        Ok(Self(params))
    }

    fn text(&self, name: Parameter) -> Option<&str> {
        self.0.get(&name).map(String::as_str)
    }

    fn number<T: TryFrom<u64, Error = OutOfRange>>(
        &self,
        name: Parameter,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let number = decimal(text).map_err(|error| invalid(name, error.why()))?;
        T::try_from(number).map(Some).map_err(|_| invalid(name, "the number is out of range"))
    }

    pub(super) fn hash(&self) -> Result<UploadHash, Problem> {
        parse_hash(self.text(Parameter::Hash))
    }

    pub(super) fn upload_id(&self) -> Result<Option<UploadId>, Problem> {
        let why = "it must be 32 or 48 lower-case hex digits";
        let id = self.text(Parameter::UploadId).map(UploadId::parse).transpose();
        id.map_err(|_| invalid(Parameter::UploadId, why))
    }

    pub(super) fn index(&self) -> Result<ChunkIndex, Problem> {
        self.number(Parameter::Index)?.ok_or_else(|| missing(Parameter::Index))
    }

    pub(super) fn total(&self) -> Result<Option<ChunkCount>, Problem> {
        self.number(Parameter::Total)?.map(check_total).transpose()
    }

    pub(super) fn size(&self) -> Result<Option<Length>, Problem> {
        self.number(Parameter::Size)
    }

    pub(super) fn chunk_size(&self) -> Result<Option<ChunkSize>, Problem> {
        self.number(Parameter::ChunkSize)
    }

    pub(super) fn filename(&self) -> Result<Option<String>, Problem> {
        self.text(Parameter::Filename).map_or(Ok(None), parse_filename)
    }

    pub(super) fn sha256(&self) -> Result<Option<Sha256Digest>, Problem> {
        let digest = self.text(Parameter::Sha256).map(Sha256Digest::parse_hex).transpose();
        digest.map_err(|_| invalid(Parameter::Sha256, "it must be 64 hex digits"))
    }

    pub(super) fn format(&self) -> Option<&str> {
        self.text(Parameter::Format)
    }
}

pub(super) fn invalid(name: Parameter, why: &'static str) -> Problem {
    Problem::InvalidParameter { name, why }
}

pub(super) fn missing(name: Parameter) -> Problem {
    invalid(name, "it is missing")
}

/// 8 to 64 hex digits, folded to lower case (row CHUNK-CHECK-05).
pub(super) fn parse_hash(text: Option<&str>) -> Result<UploadHash, Problem> {
    let text = text.ok_or_else(|| missing(Parameter::Hash))?;
    UploadHash::parse(text).map_err(|_| invalid(Parameter::Hash, "it must be 8 to 64 hex digits"))
}

/// A filename of at most 255 bytes; an empty one is none. It stays data: never a path, never a part
/// of one.
pub(super) fn parse_filename(text: &str) -> Result<Option<String>, Problem> {
    if text.len() > FILENAME_BYTES_MAX {
        return Err(invalid(Parameter::Filename, "it is longer than 255 bytes"));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

pub(super) fn check_total(total: ChunkCount) -> Result<ChunkCount, Problem> {
    match total.get() {
        0 => Err(invalid(Parameter::Total, "a file has at least one chunk, even an empty file")),
        1..=TOTAL_MAX => Ok(total),
        _ => Err(invalid(Parameter::Total, "at most 10000 chunks are taken; make them larger")),
    }
}

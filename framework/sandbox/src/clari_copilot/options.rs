//! The options of a simulated workspace of Clari Copilot.

use crate::Faults;

/// A workspace of Clari Copilot to simulate.
#[derive(Clone, Debug)]
pub struct CopilotOptions {
    /// The port to listen on at 127.0.0.1; 0 for any free one.
    pub port: u16,
    /// The number of calls; the numbers of other records follow from it. Designed for 10 to 1,000,000;
    /// more than 10,000,000 count as 10,000,000.
    pub calls: u64,
    /// Workspaces with different seeds have different records.
    pub seed: u64,
    /// The faults from the start.
    pub faults: Faults,
    /// The rate limits and the size limit of answers.
    pub limits: CopilotLimits,
    /// The spelling of the key that `/scorecard-template` answers with.
    pub template_key: TemplateKey,
    /// The status for a wrong pair of credentials: 403, or 401 for every other value (proposed:
    /// clients are seen to handle both, the live answer is unknown).
    pub wrong_credentials: u16,
}

impl Default for CopilotOptions {
    /// 120 calls on a free port, with the limits of the real API and without faults.
    fn default() -> Self {
        Self {
            port: 0,
            calls: 120,
            seed: 0,
            faults: Faults::default(),
            limits: CopilotLimits::default(),
            template_key: TemplateKey::default(),
            wrong_credentials: 401,
        }
    }
}

/// The limits of the API. The defaults are the real ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopilotLimits {
    /// How many requests are let through within any one second; `None` for no limit. Vendor
    /// document: 10.
    pub per_second: Option<u32>,
    /// How many requests are let through from one Sunday 00:00 GMT to the next; `None` for no
    /// limit. Vendor document: 100,000.
    pub per_week: Option<u64>,
    /// Answers with a longer body than this many bytes fail with 502. Vendor's reply to users:
    /// 6 MB.
    pub response_cap_bytes: u64,
}

impl Default for CopilotLimits {
    fn default() -> Self {
        Self {
            per_second: Some(10),
            per_week: Some(100_000),
            response_cap_bytes: 6 * 1024 * 1024,
        }
    }
}

/// The key that holds the list in the answer of `/scorecard-template`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TemplateKey {
    /// `scorecardTemplates`, observed live.
    #[default]
    ScorecardTemplates,
    /// `scoreCardTemplates`, in the vendor document.
    ScoreCardTemplates,
}

impl TemplateKey {
    /// The key as it is spelled in the answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScorecardTemplates => "scorecardTemplates",
            Self::ScoreCardTemplates => "scoreCardTemplates",
        }
    }
}

//! The vocabulary of the generated records: enum values of the vendor document, and invented
//! names and sentences.

use crate::names::Name;

/// `CallStatus` of the vendor document, in its order.
pub(crate) const CALL_STATUSES: &[&str] = &[
    "SCHEDULED",
    "INITIATED",
    "INPROGRESS",
    "WAITING_IN_QUEUE",
    "PROCESSING",
    "PROCESSED",
    "ERROR_IN_TRANSCRIBE",
    "ERROR_IN_PROCESSING",
    "ERROR_IN_RECORDING",
    "UNABLE_TO_JOIN",
    "CALL_DID_NOT_HAPPEN",
    "IGNORED_BY_USER",
    "BOTJOIN_DISABLED",
    "POST_PROCESSING_DONE",
    "NO_DATA_INCALL",
    "NOBODY_JOINED_CALL",
    "BOTJOIN_DENIED",
];

/// The statuses of a call whose recording has been processed.
pub(crate) const FINISHED_STATUSES: &[&str] = &["POST_PROCESSING_DONE", "PROCESSED"];

/// Every other status.
pub(crate) const UNFINISHED_STATUSES: &[&str] = &[
    "SCHEDULED",
    "INITIATED",
    "INPROGRESS",
    "WAITING_IN_QUEUE",
    "PROCESSING",
    "ERROR_IN_TRANSCRIBE",
    "ERROR_IN_PROCESSING",
    "ERROR_IN_RECORDING",
    "UNABLE_TO_JOIN",
    "CALL_DID_NOT_HAPPEN",
    "IGNORED_BY_USER",
    "BOTJOIN_DISABLED",
    "NO_DATA_INCALL",
    "NOBODY_JOINED_CALL",
    "BOTJOIN_DENIED",
];

/// The statuses that come with a reason why the recording bot did not join.
pub(crate) const BOT_ABSENT_STATUSES: &[&str] = &[
    "UNABLE_TO_JOIN",
    "CALL_DID_NOT_HAPPEN",
    "IGNORED_BY_USER",
    "BOTJOIN_DISABLED",
    "BOTJOIN_DENIED",
];

/// `BotNotJoinReason` of the vendor document.
pub(crate) const BOT_NOT_JOIN_REASONS: &[&str] = &[
    "IGNORED_DUE_TO_WHITELIST",
    "CONSENT_REVOKED",
    "IGNORED_BY_USER",
    "IGNORED_CALL_TYPE_IGNORED_BY_CUSTOMER",
    "IGNORED_NO_USER_HAS_ACCEPTED_INVITE",
    "RECORDING_PERMISSION_DENIED",
    "IGNORED_NON_MEETING",
    "IGNORED_NOT_CONFIRMED",
    "IGNORED_NOT_EXTERNAL_MEETING",
    "IGNORED_NOT_ORGANIZER",
    "IGNORED",
];

/// `CallType` of the vendor document.
pub(crate) const CALL_TYPES: &[&str] = &[
    "ZOOM",
    "GOOGLE_MEET",
    "FRESHCALLER",
    "AIRCALL_RECORDING",
    "RINGCENTRAL",
    "GOTO_MEETING",
    "OUTREACH",
    "HUBSPOT",
    "BLUE_JEANS",
    "SALESLOFT",
    "MS_TEAMS",
    "DIALPAD",
    "FRONTSPIN",
    "TALKDESK",
];

/// The conferencing tools that most calls come from.
pub(crate) const COMMON_CALL_TYPES: &[&str] = &["ZOOM", "GOOGLE_MEET", "MS_TEAMS"];

/// `APICallType` of the vendor document: the types of uploaded calls.
pub(crate) const API_CALL_TYPES: &[&str] = &[
    "RECORDING",
    "VENDASTA",
    "KNOWLARITY",
    "CALL_HIPPO",
    "RINGOVER",
];

pub(crate) const COMPANY_HEADS: &[&str] = &[
    "Amberfield",
    "Blue Heron",
    "Café Orbital",
    "Cobalt",
    "Driftwood",
    "Elm & Oak",
    "Fjällräven Nord",
    "Granite Peak",
    "Harbourside",
    "Ironbridge",
    "Juniper",
    "Kestrel",
    "Lumière",
    "Maplewood",
    "Northlight",
    "Ostrava",
    "Pinecrest",
    "Quarry",
    "Redwood",
    "São Bento",
    "Tidewater",
    "Umbra",
    "Volta",
    "Westmark",
    "Zürichsee",
    "東京ミライ",
];

pub(crate) const COMPANY_TAILS: &[&str] = &[
    "Analytics",
    "Foods",
    "GmbH",
    "Health",
    "Insurance Group",
    "Labs",
    "Logistics",
    "Manufacturing",
    "Media",
    "Partners, LLC",
    "Robotics",
    "S.A.",
    "Software",
    "Supply Co.",
];

pub(crate) const JOB_TITLES: &[&str] = &[
    "Chief Financial Officer",
    "Directrice des opérations",
    "Head of Procurement",
    "IT Manager",
    "Operations Lead",
    "Sales Enablement Manager",
    "Security Architect",
    "VP Customer Success",
    "VP Sales",
];

/// Title patterns; `{}` is the company.
pub(crate) const TITLES: &[&str] = &[
    "Discovery call with {}",
    "{} – product demo",
    "Weekly sync: {}",
    "{} / pricing & packaging",
    "🚀 Kick-off with {}",
    "Budget \"deep dive\" for {}",
    "Renouvellement {} (année 2)",
    "{}: security questionnaire",
    "Quarterly business review, {}",
    "Intro {} <> RevOps",
    "Follow-up on the pilot at {}",
    "Contract review\tv2 – {}",
];

/// Keyword topics: their name and the phrases that count as a hit.
pub(crate) const KEYWORD_TOPICS: &[(&str, &[&str])] = &[
    (
        "Pricing",
        &["price", "discount", "per seat", "cost per user"],
    ),
    ("Competitor", &["Gong", "Chorus", "other vendor"]),
    (
        "Security",
        &["SOC 2", "single sign-on", "penetration test", "encryption"],
    ),
    ("Next Steps", &["next step", "follow up", "next week"]),
    (
        "Integration",
        &["Salesforce", "API", "webhook", "data warehouse"],
    ),
    ("Onboarding", &["onboarding", "training", "go-live"]),
    ("Budget", &["budget", "fiscal year", "approved spend"]),
    ("Objection", &["not sure", "too complex", "concern"]),
    (
        "Contract",
        &["contract", "legal review", "redline", "terms"],
    ),
    ("Référence client", &["référence", "témoignage"]),
];

/// Custom topics: their name and description.
pub(crate) const CUSTOM_TOPICS: &[(&str, &str)] = &[
    (
        "Champion identified",
        "The buyer names someone who sells for us inside the company.",
    ),
    (
        "Executive sponsor",
        "An executive takes part or is named as the sponsor.",
    ),
    (
        "Churn risk ⚠️",
        "The customer speaks of leaving, or of \"looking around\".",
    ),
    (
        "Feature request",
        "The customer asks for something the product does not do.",
    ),
];

pub(crate) const COMPETITORS: &[&str] = &["Gong", "Chorus", "Salesloft Conversations", "Avoma"];

pub(crate) const SENTIMENTS: &[&str] = &["POSITIVE", "NEUTRAL", "NEGATIVE"];

/// Sentences people say in a call.
pub(crate) const SENTENCES: &[&str] = &[
    "Thanks everyone for joining today, I know it's a busy week.",
    "Could you walk us through how your team forecasts at the moment?",
    "We export everything to a spreadsheet, and honestly it's a mess.",
    "What would the price look like for two hundred and fifty seats?",
    "Our security team will ask for the SOC 2 report before anything else.",
    "I'm not sure the managers will have the time for that.",
    "Let me share my screen so that you can see the dashboard.",
    "That's great 👍 – exactly what we have been missing.",
    "We looked at another vendor last quarter and it felt too complex.",
    "Does the integration write back to Salesforce, or only read?",
    "Once the legal review is done we could sign before the end of the quarter.",
    "He said, \"if it saves an hour a week, I'm in\".",
    "Pardon, je vous ai coupé – allez-y.",
    "Right. So the next step would be a pilot with one region.",
    "Who else needs to be part of that decision?",
    "The budget is approved for this fiscal year, not for the next one.",
    "Mm-hmm.",
    "Yes, exactly.",
    "We had about C:\\exports\\2025 full of files nobody could find again.",
    "Onboarding took six weeks the last time, can we do it in three?",
    "今日はありがとうございました。",
    "I'll send over the summary and the contract this afternoon.",
];

/// The sentences of a summary; `{}` is the company.
pub(crate) const SUMMARY_SENTENCES: &[&str] = &[
    "{} described how the current forecasting process depends on manual exports.",
    "The team presented the product, with a focus on the dashboard and on the API.",
    "Price and the number of seats were discussed; {} asked for a volume discount.",
    "The security questionnaire of {} has to be answered before a pilot can start.",
    "Both sides agreed on a pilot with one region, followed by a review.",
    "The decision depends on the finance department of {}, which was not on the call.",
];

pub(crate) const ACTION_ITEMS: &[&str] = &[
    "Send the security documentation",
    "Prepare a quote for 250 seats",
    "Schedule the pilot kick-off",
    "Introduce the customer success manager",
    "Share the recording with the finance team",
    "Review the redlined contract",
];

pub(crate) const DEAL_STAGES: &[&str] = &[
    "Qualification",
    "Discovery",
    "Evaluation",
    "Proposal",
    "Negotiation",
    "Closed Won",
    "Closed Lost",
];

pub(crate) const FORECAST_CATEGORIES: &[&str] = &["Pipeline", "Best Case", "Commit", "Omitted"];

pub(crate) const DEAL_REASONS: &[&str] = &[
    "Price",
    "Missing feature",
    "Champion left",
    "No decision",
    "Best fit",
];

pub(crate) const CONTACT_STAGES: &[&str] = &["Lead", "Engaged", "Customer", "Unqualified"];

/// City, state (may be empty), country, postal code.
pub(crate) const PLACES: &[(&str, &str, &str, &str)] = &[
    ("Boston", "MA", "United States", "02110"),
    ("München", "Bayern", "Germany", "80331"),
    ("São Paulo", "SP", "Brazil", "01310-100"),
    ("Kraków", "", "Poland", "31-042"),
    ("Tokyo", "", "Japan", "100-0005"),
    ("Montréal", "QC", "Canada", "H2Y 1C6"),
    ("Cork", "", "Ireland", "T12 W62F"),
    ("Austin", "TX", "United States", "78701"),
];

pub(crate) const STREETS: &[&str] = &[
    "12 Harbour Street",
    "Königsallee 7",
    "Rua das Flores 100, 3º",
    "200 Main St\nSuite 4",
    "5 rue de l'Église",
];

/// Scorecard templates: their name and the questions as skill and label.
pub(crate) const SCORECARD_TEMPLATES: &[(&str, &[Name])] = &[
    (
        "Discovery call",
        &[
            ("Opening", "Did the rep set an agenda?"),
            ("Discovery", "Did the rep find the main pain?"),
            ("Next steps", "Was a dated next step agreed?"),
        ],
    ),
    (
        "Product demo",
        &[
            ("Relevance", "Was the demo tailored to the customer?"),
            ("Listening", "Did the rep pause for questions?"),
            ("Objections", "Were objections answered with \"proof\"?"),
            ("Closing", "Did the rep close for a decision?"),
        ],
    ),
    (
        "Renewal – customer health 💚",
        &[
            ("Value", "Was the value of the last year shown?"),
            ("Risk", "Were risks asked for?"),
        ],
    ),
];

pub(crate) const SCORECARD_REMARKS: &[&str] = &[
    "Strong opening, weak close.",
    "Excellent listening – keep it up 🎉",
    "Ask one question at a time.",
    "Très bonne découverte.",
    "",
];

package fault

import (
	"strings"

	eventv1 "github.com/ragmesh/ragmesh/proto/gen/ragmesh/event/v1"
)

// Reason says what happened. It is the contract's enum, so that a reason means the same in an error, an event and a log.
type Reason = eventv1.Reason

// The reasons, by the contract's names in Go's spelling. The five that share their name with a kind carry the prefix Reason.
const (
	// Unspecified: never sent.
	Unspecified = eventv1.Reason_REASON_UNSPECIFIED
	// ReasonInternal: a bug; the log has more under the trace id.
	ReasonInternal = eventv1.Reason_REASON_INTERNAL
	// ReasonUnimplemented: the feature is not there yet.
	ReasonUnimplemented = eventv1.Reason_REASON_UNIMPLEMENTED
	// InvalidRequest: a field is missing, malformed or out of bounds; BadRequest names it.
	InvalidRequest = eventv1.Reason_REASON_INVALID_REQUEST
	// RequestTooLarge: the request is larger than its limit.
	RequestTooLarge = eventv1.Reason_REASON_REQUEST_TOO_LARGE
	// ReasonUnauthenticated: no credentials, or ones that are not good.
	ReasonUnauthenticated = eventv1.Reason_REASON_UNAUTHENTICATED
	// RoleTooLow: the caller's role does not allow this. At the edge only.
	RoleTooLow = eventv1.Reason_REASON_ROLE_TOO_LOW
	// CrossSite: Host or Origin is not one this server serves.
	CrossSite = eventv1.Reason_REASON_CROSS_SITE
	// WorkspaceNotFound: no such workspace, or not the caller's.
	WorkspaceNotFound = eventv1.Reason_REASON_WORKSPACE_NOT_FOUND
	// SessionNotFound: no such session.
	SessionNotFound = eventv1.Reason_REASON_SESSION_NOT_FOUND
	// TurnNotFound: no such turn.
	TurnNotFound = eventv1.Reason_REASON_TURN_NOT_FOUND
	// DocumentNotFound: no such document.
	DocumentNotFound = eventv1.Reason_REASON_DOCUMENT_NOT_FOUND
	// UploadNotFound: no such upload, or it has expired.
	UploadNotFound = eventv1.Reason_REASON_UPLOAD_NOT_FOUND
	// PromptNotFound: no such prompt template.
	PromptNotFound = eventv1.Reason_REASON_PROMPT_NOT_FOUND
	// StrategyNotFound: no such retrieval strategy.
	StrategyNotFound = eventv1.Reason_REASON_STRATEGY_NOT_FOUND
	// ToolNotFound: no such tool, or it is not enabled.
	ToolNotFound = eventv1.Reason_REASON_TOOL_NOT_FOUND
	// ModelNotFound: no such model.
	ModelNotFound = eventv1.Reason_REASON_MODEL_NOT_FOUND
	// KeyNotFound: no such key.
	KeyNotFound = eventv1.Reason_REASON_KEY_NOT_FOUND
	// UploadIncomplete: parts are missing.
	UploadIncomplete = eventv1.Reason_REASON_UPLOAD_INCOMPLETE
	// ContentMismatch: the bytes do not have the announced hash or size.
	ContentMismatch = eventv1.Reason_REASON_CONTENT_MISMATCH
	// UnsupportedFormat: the format is not one that can be read.
	UnsupportedFormat = eventv1.Reason_REASON_UNSUPPORTED_FORMAT
	// EmptyDocument: the document holds no text.
	EmptyDocument = eventv1.Reason_REASON_EMPTY_DOCUMENT
	// MalformedDocument: the document could not be read.
	MalformedDocument = eventv1.Reason_REASON_MALFORMED_DOCUMENT
	// RequestInProgress: another request with the same id is still running.
	RequestInProgress = eventv1.Reason_REASON_REQUEST_IN_PROGRESS
	// RequestIDReused: the request id was used for another question.
	RequestIDReused = eventv1.Reason_REASON_REQUEST_ID_REUSED
	// Overloaded: too much at once; RetryInfo says when to come back.
	Overloaded = eventv1.Reason_REASON_OVERLOADED
	// Draining: the process is stopping; another replica will answer.
	Draining = eventv1.Reason_REASON_DRAINING
	// StoreUnavailable: a store (NATS, index, disk) does not answer.
	StoreUnavailable = eventv1.Reason_REASON_STORE_UNAVAILABLE
	// ServiceUnavailable: a service does not answer.
	ServiceUnavailable = eventv1.Reason_REASON_SERVICE_UNAVAILABLE
	// DeadlineExceeded: the deadline passed.
	DeadlineExceeded = eventv1.Reason_REASON_DEADLINE_EXCEEDED
	// ReasonCanceled: the caller went away.
	ReasonCanceled = eventv1.Reason_REASON_CANCELED
	// ProviderUnavailable: the model's provider does not answer or fails.
	ProviderUnavailable = eventv1.Reason_REASON_PROVIDER_UNAVAILABLE
	// ProviderRejected: the model's provider refuses the request or our credentials.
	ProviderRejected = eventv1.Reason_REASON_PROVIDER_REJECTED
	// ProviderRateLimited: the model's provider limits our rate.
	ProviderRateLimited = eventv1.Reason_REASON_PROVIDER_RATE_LIMITED
	// ProviderStreamCut: the model's stream ended without its end marker.
	ProviderStreamCut = eventv1.Reason_REASON_PROVIDER_STREAM_CUT
	// ToolArgumentsInvalid: arguments do not fit the tool's schema.
	ToolArgumentsInvalid = eventv1.Reason_REASON_TOOL_ARGUMENTS_INVALID
	// ToolFailed: the tool ran and failed.
	ToolFailed = eventv1.Reason_REASON_TOOL_FAILED
	// ToolTimeout: the tool's timeout passed.
	ToolTimeout = eventv1.Reason_REASON_TOOL_TIMEOUT
	// ApprovalRequired: the tool has side effects and no approval was given.
	ApprovalRequired = eventv1.Reason_REASON_APPROVAL_REQUIRED
	// PromptTooLarge: the prompt does not fit the model even without sources.
	PromptTooLarge = eventv1.Reason_REASON_PROMPT_TOO_LARGE
	// ReasonConflict: a conflicting change came first; read again and repeat.
	ReasonConflict = eventv1.Reason_REASON_CONFLICT
	// ConfigInvalid: the configuration is wrong.
	ConfigInvalid = eventv1.Reason_REASON_CONFIG_INVALID
	// MemberNotFound: there is no such member of the workspace.
	MemberNotFound = eventv1.Reason_REASON_MEMBER_NOT_FOUND
	// RateLimited: the caller's own rate or share is used up; RetryInfo says when to come back.
	RateLimited = eventv1.Reason_REASON_RATE_LIMITED
	// EncryptedDocument: the document is encrypted or protected by a password.
	EncryptedDocument = eventv1.Reason_REASON_ENCRYPTED_DOCUMENT
	// OCRRequired: the document has no text that could be read, only pictures of it or fonts that name no characters, and no OCR is set up.
	OCRRequired = eventv1.Reason_REASON_OCR_REQUIRED
	// DocumentTooLarge: reading the document took more pages, rows, expanded bytes, time or memory than is allowed.
	DocumentTooLarge = eventv1.Reason_REASON_DOCUMENT_TOO_LARGE
	// ParserFailed: the document made the program that reads it fail, every time.
	ParserFailed = eventv1.Reason_REASON_PARSER_FAILED
	// UnknownEncoding: the text is in an encoding that could not be told.
	UnknownEncoding = eventv1.Reason_REASON_UNKNOWN_ENCODING
	// BudgetExceeded: the budget of the workspace or key is used up for its period.
	BudgetExceeded = eventv1.Reason_REASON_BUDGET_EXCEEDED
	// QueueFull: as much of the workspace waits to be taken in as may; RetryInfo says when to come back.
	QueueFull = eventv1.Reason_REASON_QUEUE_FULL
	// NotCached: only an answer that was kept was wanted, and there is none.
	NotCached = eventv1.Reason_REASON_NOT_CACHED
)

// reasonPrefix is what the enum's names carry in the proto file and nowhere else.
const reasonPrefix = "REASON_"

// ReasonName returns a reason as errors and logs show it, e.g. "SESSION_NOT_FOUND".
func ReasonName(r Reason) string { return strings.TrimPrefix(r.String(), reasonPrefix) }

// ParseReason is the inverse of ReasonName. A name this build does not know, as a newer peer may send, is Unspecified.
func ParseReason(name string) Reason { return Reason(eventv1.Reason_value[reasonPrefix+name]) }

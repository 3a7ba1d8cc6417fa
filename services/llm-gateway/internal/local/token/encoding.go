// Package token turns texts into the ids that a model was trained with.
package token

// Encoding is a text, or a pair of texts, as a model reads it.
type Encoding struct {
	// IDs are the tokens, the special ones included.
	IDs []int32
	// Types says of each token which text of a pair it belongs to, 0 or 1.
	Types []int32
	// Unknown is how many tokens stand for something the vocabulary does not have.
	Unknown int
}

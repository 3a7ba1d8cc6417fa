package exchange

import "encoding/json"

// Object returns text as it is where it is a JSON object, and else an object that holds it under key; an empty one where key
// is empty. Providers want objects where the contract has text: arguments of calls, and results of tools.
func Object(text, key string) json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &object) == nil && object != nil {
		return json.RawMessage(text)
	}
	if key == "" {
		return json.RawMessage("{}")
	}
	raw, err := json.Marshal(map[string]string{key: text})
	if err != nil {
		return json.RawMessage("{}") // text marshals
	}
	return raw
}

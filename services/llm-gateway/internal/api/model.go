package api

import (
	"net/http"
	"slices"

	"github.com/ragmesh/ragmesh/libs/refusal"
)

// model is an entry of the list of models.
type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// models are what the caller may ask, routes first.
func (r *request) models() []model {
	var names []string
	for _, name := range r.serving.Routes.Names() {
		if r.model(name) == nil {
			names = append(names, name)
		}
	}
	embeddings, _ := r.serving.Vectors.Embeddings()
	for _, e := range embeddings {
		if r.key.May(e.Name) && !slices.Contains(names, e.Name) {
			names = append(names, e.Name)
		}
	}
	list := make([]model, len(names))
	for i, name := range names {
		list[i] = model{ID: name, Object: "model", OwnedBy: "ragmesh"}
	}
	return list
}

func (h *Handler) listModels(w http.ResponseWriter, r *request) error {
	refusal.JSON(w, http.StatusOK, map[string]any{"object": "list", "data": r.models()})
	return nil
}

func (h *Handler) getModel(w http.ResponseWriter, r *request) error {
	id := r.PathValue("model")
	for _, m := range r.models() {
		if m.ID == id {
			refusal.JSON(w, http.StatusOK, m)
			return nil
		}
	}
	return refusal.NoModel(id)
}

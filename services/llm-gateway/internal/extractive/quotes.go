package extractive

// Quotes says that answers are what stands in the sources: without sources there is none.
func (Model) Quotes() bool { return true }

package lint

func linkerdRules() []Rule { return nil }

package lint

func workloadRules() []Rule { return nil }

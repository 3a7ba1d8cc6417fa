package load

// Questions are what is asked when nobody says otherwise: about the documents of examples/bank-support, in both languages,
// for a tool, and one that the documents do not answer.
func Questions() []string {
	return []string{
		"How much does a replacement for a lost card cost?",
		"What is 12*37+5?",
		"What is the conversion fee for card payments in a foreign currency?",
		"海港金卡信用卡的年费是多少？",
		"Until what time is a SEPA transfer sent on the same day?",
		"Within how many days must a dispute reach the bank?",
		"计算 3.5% of 1200",
		"Up to what amount are deposits protected?",
		"即时转账每笔收费多少？",
		"After how many wrong passwords is access locked?",
		"What time is it in Tokyo?",
		"How long is a confirmation code valid?",
		"开户需要年满多少岁？",
		"How many branches does Harbour Bank have in Portugal?",
		"网上转账每日限额是多少？",
	}
}

package plan

import (
	"regexp"
	"strings"
)

var zoneName = regexp.MustCompile(`^[a-z]+(/[a-z_+-]+){1,2}$`)

// zoneOf returns the IANA time zone of a place, in English or Chinese, or of a zone's own name.
func zoneOf(place string) (string, bool) {
	place = strings.TrimSpace(strings.TrimPrefix(place, "the "))
	for _, tail := range []string{" city", " time", ", china", ", japan", ", usa", ", uk", "市", "时间"} {
		place = strings.TrimSuffix(place, tail)
	}
	if zone := city(place); zone != "" {
		return zone, true
	}
	if zoneName.MatchString(place) {
		parts := strings.Split(place, "/")
		for i, p := range parts {
			words := strings.Split(p, "_")
			for j, w := range words {
				if w != "" {
					words[j] = strings.ToUpper(w[:1]) + w[1:]
				}
			}
			parts[i] = strings.Join(words, "_")
		}
		return strings.Join(parts, "/"), true
	}
	return "", false
}

// city maps the places people ask for; one that is missing is looked for in the documents instead.
func city(place string) string {
	switch place {
	case "utc", "gmt", "世界协调时", "格林尼治":
		return "UTC"
	case "beijing", "shanghai", "shenzhen", "guangzhou", "china", "hangzhou", "chengdu", "wuhan", "xi'an",
		"北京", "上海", "深圳", "广州", "中国", "杭州", "成都", "武汉", "西安", "南京", "重庆", "天津":
		return "Asia/Shanghai"
	case "hong kong", "香港":
		return "Asia/Hong_Kong"
	case "taipei", "taiwan", "台北", "台湾":
		return "Asia/Taipei"
	case "tokyo", "japan", "osaka", "kyoto", "东京", "日本", "大阪", "京都":
		return "Asia/Tokyo"
	case "seoul", "korea", "south korea", "首尔", "韩国":
		return "Asia/Seoul"
	case "singapore", "新加坡":
		return "Asia/Singapore"
	case "bangkok", "thailand", "曼谷", "泰国":
		return "Asia/Bangkok"
	case "jakarta", "雅加达":
		return "Asia/Jakarta"
	case "manila", "马尼拉":
		return "Asia/Manila"
	case "hanoi", "河内":
		return "Asia/Bangkok"
	case "kuala lumpur", "吉隆坡":
		return "Asia/Kuala_Lumpur"
	case "india", "mumbai", "delhi", "new delhi", "bangalore", "bengaluru", "印度", "孟买", "新德里", "班加罗尔":
		return "Asia/Kolkata"
	case "dubai", "迪拜":
		return "Asia/Dubai"
	case "istanbul", "turkey", "伊斯坦布尔", "土耳其":
		return "Europe/Istanbul"
	case "moscow", "莫斯科":
		return "Europe/Moscow"
	case "london", "uk", "england", "britain", "伦敦", "英国":
		return "Europe/London"
	case "dublin", "ireland", "都柏林", "爱尔兰":
		return "Europe/Dublin"
	case "paris", "france", "巴黎", "法国":
		return "Europe/Paris"
	case "berlin", "germany", "munich", "frankfurt", "hamburg", "柏林", "德国", "慕尼黑", "法兰克福":
		return "Europe/Berlin"
	case "madrid", "spain", "barcelona", "马德里", "西班牙", "巴塞罗那":
		return "Europe/Madrid"
	case "rome", "italy", "milan", "罗马", "意大利", "米兰":
		return "Europe/Rome"
	case "amsterdam", "netherlands", "阿姆斯特丹", "荷兰":
		return "Europe/Amsterdam"
	case "zurich", "geneva", "switzerland", "苏黎世", "日内瓦", "瑞士":
		return "Europe/Zurich"
	case "vienna", "austria", "维也纳", "奥地利":
		return "Europe/Vienna"
	case "stockholm", "sweden", "斯德哥尔摩", "瑞典":
		return "Europe/Stockholm"
	case "copenhagen", "denmark", "哥本哈根", "丹麦":
		return "Europe/Copenhagen"
	case "oslo", "norway", "奥斯陆", "挪威":
		return "Europe/Oslo"
	case "helsinki", "finland", "赫尔辛基", "芬兰":
		return "Europe/Helsinki"
	case "warsaw", "poland", "华沙", "波兰":
		return "Europe/Warsaw"
	case "athens", "greece", "雅典", "希腊":
		return "Europe/Athens"
	case "lisbon", "portugal", "里斯本", "葡萄牙":
		return "Europe/Lisbon"
	case "new york", "new york city", "nyc", "washington", "washington dc", "boston", "miami", "atlanta", "纽约", "华盛顿", "波士顿", "迈阿密":
		return "America/New_York"
	case "toronto", "ottawa", "montreal", "多伦多", "渥太华", "蒙特利尔":
		return "America/Toronto"
	case "chicago", "dallas", "houston", "austin", "芝加哥", "达拉斯", "休斯顿":
		return "America/Chicago"
	case "denver", "丹佛":
		return "America/Denver"
	case "los angeles", "san francisco", "seattle", "san diego", "california", "las vegas", "洛杉矶", "旧金山", "西雅图", "加州":
		return "America/Los_Angeles"
	case "vancouver", "温哥华":
		return "America/Vancouver"
	case "mexico city", "墨西哥城":
		return "America/Mexico_City"
	case "sao paulo", "são paulo", "圣保罗":
		return "America/Sao_Paulo"
	case "buenos aires", "布宜诺斯艾利斯":
		return "America/Argentina/Buenos_Aires"
	case "cairo", "egypt", "开罗", "埃及":
		return "Africa/Cairo"
	case "nairobi", "kenya", "内罗毕", "肯尼亚":
		return "Africa/Nairobi"
	case "lagos", "拉各斯":
		return "Africa/Lagos"
	case "johannesburg", "cape town", "约翰内斯堡", "开普敦":
		return "Africa/Johannesburg"
	case "sydney", "melbourne", "悉尼", "墨尔本":
		return "Australia/Sydney"
	case "auckland", "wellington", "new zealand", "奥克兰", "惠灵顿", "新西兰":
		return "Pacific/Auckland"
	case "honolulu", "hawaii", "檀香山", "夏威夷":
		return "Pacific/Honolulu"
	default:
		return ""
	}
}

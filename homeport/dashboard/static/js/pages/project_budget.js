import { spending } from "../manage/spending.js";

spending();
